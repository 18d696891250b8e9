"""Read candidate and champion from MLflow's model registry, and promote a candidate there."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict
from math import inf, isclose

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.config.objectives import gain
from pipeline.errors import PipelineError, reason_line
from pipeline.names import (
    ACCURACY,
    ACCURACY_DROP,
    CHAMPION_ALIAS,
    CPU_TAG,
    FINISHED,
    LATENCY_P50_MS,
    MLFLOW_CONTEXTS,
    MODEL,
    PREDICTIONS_TABLE,
    PROMOTION_FILE,
    PROMOTION_TAG,
    REPORTS,
    SHIPPED_TAG,
    SIZE_MB,
    SPEEDUP,
    TEST,
    figure_of,
)
from pipeline.promotion.gate import Candidate, Check
from pipeline.tracking.lookup import (
    children_of,
    digests_of,
    find_run,
    find_sweep,
    objectives_of,
    registered_names,
)
from pipeline.tracking.store import TAG_LENGTH, tracking_uri

TOLERANCE = 1e-6


class Registry:
    """One registered model of the tracking store.

    Args:
        name: name of the registered model, which need not exist yet.
    """

    def __init__(self, name: str) -> None:
        mlflow.set_tracking_uri(tracking_uri())
        self._name = name
        self._client = MlflowClient()

    def candidate(self, run_id: str) -> Candidate:
        """Read the figures of a run's shipped model.

        Args:
            run_id: id of the run.

        Raises:
            PipelineError: there is no such run, it is not FINISHED, it shipped no model, it was not
                timed, or its table of predictions is damaged.
        """
        run = find_run(self._client, run_id)
        metrics, shipped = run.data.metrics, run.data.tags.get(SHIPPED_TAG)
        if run.info.status != FINISHED:
            raise PipelineError(
                f"run {run_id} is {run.info.status}; only a FINISHED run can be promoted."
            )
        if shipped is None:
            raise PipelineError(
                f"run {run_id} shipped no model; run it with export=all or export=onnx."
            )
        if SPEEDUP not in metrics:
            raise PipelineError(f"run {run_id} was not timed; run it with benchmark=default.")
        table = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{REPORTS}/{PREDICTIONS_TABLE}")
        return Candidate(
            run_id=run_id,
            name=run.info.run_name,
            accuracy_drop=metrics[ACCURACY_DROP],
            speedup=metrics[SPEEDUP],
            size_mb=metrics[figure_of(shipped, SIZE_MB)],
            latency_p50_ms=metrics[figure_of(shipped, LATENCY_P50_MS)],
            cpu=run.data.tags.get(CPU_TAG, "unknown"),
            test_digest=_test_digest(run),
            right=_right_answers(table, run, shipped),
        )

    def champion(self) -> Candidate | None:
        """Read the figures of the present champion; None if there is no champion.

        Raises:
            PipelineError: its run is gone, so that nothing can be compared with it.
        """
        if not self._is_registered():
            return None
        if CHAMPION_ALIAS not in self._client.get_registered_model(self._name).aliases:
            return None
        version = self._client.get_model_version_by_alias(self._name, CHAMPION_ALIAS)
        try:
            return self.candidate(str(version.run_id))
        except PipelineError as error:
            raise PipelineError(f"the champion cannot be compared with: {error}") from error

    def best_of_sweep(self, sweep: str) -> str:
        """Return the id of a sweep's FINISHED run that is best by the sweep's first objective.

        The other objectives decide ties, then the speed-up.

        Args:
            sweep: id or name of the sweep's run, or "latest".

        Raises:
            PipelineError: there is no such sweep, or none of its runs is FINISHED with a shipped
                model.
        """
        parent = find_sweep(self._client, sweep)
        objectives = objectives_of(parent)
        runs = children_of(self._client, parent)
        finished = [
            run
            for run in runs
            if run.info.status == FINISHED and {objectives[0], SPEEDUP} <= run.data.metrics.keys()
        ]
        if not finished:
            raise PipelineError(
                f"sweep {parent.info.run_name}: none of its {len(runs)} runs is FINISHED with a "
                f"shipped and timed model and with the figure {objectives[0]}."
            )

        def rank(run: Run) -> list[float]:
            metrics = run.data.metrics
            return [
                gain(name, metrics[name]) if name in metrics else -inf
                for name in (*objectives, SPEEDUP)
            ]

        return str(max(finished, key=rank).info.run_id)

    def promote(self, candidate: Candidate, reasons: str) -> str:
        """Register a candidate's model and move the alias to it; an error leaves neither half done.

        Args:
            candidate: model that passed the gate.
            reasons: text that becomes the version's description.

        Returns:
            The number of the version.
        """
        with contextlib.ExitStack() as undo:
            if not self._is_registered():
                self._client.create_registered_model(self._name)
                undo.callback(self._client.delete_registered_model, self._name)
            # MLflow 3.17 prints what pipeline.promote says better.
            with contextlib.redirect_stderr(io.StringIO()):
                version = mlflow.register_model(f"runs:/{candidate.run_id}/{MODEL}", self._name)
            undo.callback(self._client.delete_model_version, self._name, version.version)
            self._client.update_model_version(self._name, version.version, description=reasons)
            self._client.set_registered_model_alias(self._name, CHAMPION_ALIAS, version.version)
            undo.pop_all()
        return str(version.version)

    def log_decision(self, candidate: Candidate, decision: str, verdicts: Sequence[Check]) -> None:
        """Write the decision to the candidate's run, as a tag and as promotion.json.

        Args:
            candidate: model that was decided on.
            decision: the decision in one line.
            verdicts: verdict of every line of the gate.
        """
        self._client.set_tag(candidate.run_id, PROMOTION_TAG, decision[:TAG_LENGTH])
        record = {"decision": decision, "gate": [asdict(check) for check in verdicts]}
        self._client.log_dict(candidate.run_id, record, PROMOTION_FILE)

    def _is_registered(self) -> bool:
        """Tell whether the registered model exists.

        get_registered_model does not tell a model that is missing from a store that fails.
        """
        return self._name in registered_names(self._client)


def _right_answers(table: str, run: Run, shipped: str) -> np.ndarray:
    """Read which texts the shipped model answers right: (rows,), bool."""
    try:
        predictions = pd.read_csv(table, dtype=str, keep_default_na=False)  # labels are names
        right = (predictions["label"] == predictions[shipped]).to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise PipelineError(
            f"{PREDICTIONS_TABLE} of run {run.info.run_id} is damaged: {reason_line(error)}."
        ) from error
    logged = run.data.metrics.get(figure_of(shipped, ACCURACY))
    if logged is not None and not isclose(right.mean(), logged, abs_tol=TOLERANCE):
        raise PipelineError(
            f"{PREDICTIONS_TABLE} of run {run.info.run_id} is damaged: its {len(right)} texts give "
            f"an accuracy of {right.mean():.6f}, and the run logged {logged:.6f}."
        )
    return right


def _test_digest(run: Run) -> str:
    digests = digests_of(run)
    context = MLFLOW_CONTEXTS[TEST]
    if context not in digests:
        raise PipelineError(
            f"run {run.info.run_id} does not say on which test split it was measured."
        )
    return digests[context]
