"""MLflow's model registry: who wants to be champion, who is, and the change of hands."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.errors import PipelineError
from pipeline.promotion.gate import Candidate, Check
from pipeline.tracking.store import (
    ALIAS,
    MODEL_NAME,
    SHIPPED_TAG,
    children_of,
    digests_of,
    find_run,
    find_sweep,
    tracking_uri,
)

PREDICTIONS = "reports/predictions.csv"
DECISION_TAG = "promotion"


class Registry:
    """One registered model.

    Args:
        name: of the registered model, which need not exist yet.
    """

    def __init__(self, name: str) -> None:
        mlflow.set_tracking_uri(tracking_uri())
        self._name = name
        self._client = MlflowClient()

    def candidate(self, run_id: str) -> Candidate:
        """Read what a run says of its shipped model.

        Raises:
            PipelineError: there is no such run, it is not FINISHED, it shipped no model, or it was not timed.
        """
        run = find_run(self._client, run_id)
        metrics, shipped = run.data.metrics, run.data.tags.get(SHIPPED_TAG)
        if run.info.status != "FINISHED":
            raise PipelineError(
                f"run {run_id} is {run.info.status}; only a FINISHED run can be promoted."
            )
        if shipped is None:
            raise PipelineError(
                f"run {run_id} shipped no model; run it with export=all or export=onnx."
            )
        if "speedup" not in metrics:
            raise PipelineError(f"run {run_id} was not timed; run it with benchmark=default.")
        predictions = pd.read_csv(
            mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{PREDICTIONS}"),
            keep_default_na=False,
        )
        return Candidate(
            run_id=run_id,
            name=run.info.run_name,
            accuracy_drop=metrics["accuracy_drop"],
            speedup=metrics["speedup"],
            size_mb=metrics[f"{shipped}/size_mb"],
            latency_p50_ms=metrics[f"{shipped}/latency_p50_ms"],
            cpu=run.data.tags.get("cpu.model", "unknown"),
            test_digest=_test_digest(run),
            right=(predictions["label"] == predictions[shipped]).to_numpy(),
        )

    def champion(self) -> Candidate | None:
        """Read the present champion's run; None if there is no champion.

        Raises:
            PipelineError: its run is gone, so that nothing can be compared with it.
        """
        if (
            not self._is_registered()
            or ALIAS not in self._client.get_registered_model(self._name).aliases
        ):
            return None
        version = self._client.get_model_version_by_alias(self._name, ALIAS)
        try:
            return self.candidate(str(version.run_id))
        except PipelineError as error:
            raise PipelineError(f"the champion cannot be compared with: {error}") from error

    def best_of_sweep(self, sweep: str) -> str:
        """Return the id of the most accurate FINISHED run of a sweep; a tie goes to the faster one.

        Args:
            sweep: id or name of the sweep's run, or latest.

        Raises:
            PipelineError: there is no such sweep, or none of its runs is FINISHED with a shipped model.
        """
        parent = find_sweep(self._client, sweep)
        runs = children_of(self._client, parent)
        finished = [
            run
            for run in runs
            if run.info.status == "FINISHED" and {"accuracy", "speedup"} <= run.data.metrics.keys()
        ]
        if not finished:
            raise PipelineError(
                f"sweep {parent.info.run_name}: none of its {len(runs)} runs is FINISHED with a shipped and timed model."
            )
        return str(
            max(
                finished,
                key=lambda run: (run.data.metrics["accuracy"], run.data.metrics["speedup"]),
            ).info.run_id
        )

    def promote(self, candidate: Candidate, reasons: str) -> str:
        """Register a candidate's model and move the alias to it; an error leaves neither half done.

        Args:
            candidate: who passed the gate.
            reasons: becomes the version's description.

        Returns:
            The version's number.
        """
        with contextlib.ExitStack() as undo:
            if not self._is_registered():
                self._client.create_registered_model(self._name)
                undo.callback(self._client.delete_registered_model, self._name)
            with contextlib.redirect_stderr(
                io.StringIO()
            ):  # mlflow 3.17 prints what promote.py says better
                version = mlflow.register_model(
                    f"runs:/{candidate.run_id}/{MODEL_NAME}", self._name
                )
            undo.callback(self._client.delete_model_version, self._name, version.version)
            self._client.update_model_version(self._name, version.version, description=reasons)
            self._client.set_registered_model_alias(self._name, ALIAS, version.version)
            undo.pop_all()
        return str(version.version)

    def _is_registered(self) -> bool:
        """Whether the registered model exists; unlike get_registered_model, it tells that from a store that fails."""
        return any(found.name == self._name for found in self._client.search_registered_models())

    def log_decision(self, candidate: Candidate, decision: str, verdicts: Sequence[Check]) -> None:
        """Write the decision to the candidate's run: a tag, and promotion.json with every line of the gate."""
        self._client.set_tag(candidate.run_id, DECISION_TAG, decision[:5000])
        record = {"decision": decision, "gate": [asdict(check) for check in verdicts]}
        self._client.log_dict(candidate.run_id, record, "promotion.json")


def _test_digest(run: Run) -> str:
    digests = digests_of(run)
    if "testing" not in digests:
        raise PipelineError(
            f"run {run.info.run_id} does not say on which test split it was measured."
        )
    return digests["testing"]
