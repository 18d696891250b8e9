"""Read candidate and champion from MLflow's model registry, and promote a candidate there."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import mlflow
from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from omegaconf import OmegaConf

from pipeline.comparison.corpora import by_corpus, corpus_of, digest_marks
from pipeline.comparison.rows import dataset_of
from pipeline.config.objectives import rank
from pipeline.config.resolve import read_logged
from pipeline.config.schema import Config
from pipeline.errors import PipelineError
from pipeline.names import (
    ACCURACY,
    CARD_FILE,
    CHAMPION_ALIAS,
    CONFIG,
    DEFAULT_OBJECTIVE,
    FINISHED,
    FP32,
    LINEAR,
    MODEL,
    PARENT_TAG,
    PROMOTION_FILE,
    PROMOTION_TAG,
    SHIPPED_TAG,
    SPEEDUP,
    figure_of,
    interval_of,
)
from pipeline.promotion.card import model_card
from pipeline.promotion.gate import Check
from pipeline.tracking.database import open_client
from pipeline.tracking.fetch import fetch
from pipeline.tracking.locate_model import model_directory
from pipeline.tracking.lookup import (
    children_of,
    digests_of,
    every_page,
    find_run,
    find_sweep,
    last_attempts,
    objectives_of,
    registered_names,
)
from pipeline.tracking.store import (
    DEFAULT_TRACKING_URI,
    TAG_LENGTH,
    command,
    store_errors,
    tracking_uri,
)

DESCRIPTION_LENGTH = 5000  # MLflow's limit
CUT = "\n\nThe rest is in model_card.md of the run."
FP32_VALIDATION = figure_of(FP32, DEFAULT_OBJECTIVE)


@dataclass(frozen=True)
class ShippedRun:
    """What a run says of the model that it shipped.

    Args:
        run_id: id of the run.
        name: name of the run.
        accuracy_drop: FP32 validation accuracy minus that of the shipped model.
        speedup: p50 latency of FP32 in PyTorch over that of the shipped model, one text at a time.
        test_accuracy: accuracy of the shipped model on the test split, which decides nothing.
        test_interval: ends of its 95 % interval; empty if the run has not logged them.
        digests: digest of each of its splits by name.
        chosen_from: number of finished jobs of its sweep on the same texts, which it may be the
            best of; 1 for a run of its own.
    """

    run_id: str
    name: str
    accuracy_drop: float
    speedup: float
    test_accuracy: float
    test_interval: tuple[float, ...]
    digests: Mapping[str, str]
    chosen_from: int


def _shortened(card: str) -> str:
    """Cut a card between two lines, where MLflow has no room for all of it."""
    if len(card) <= DESCRIPTION_LENGTH:
        return card
    return card[: DESCRIPTION_LENGTH - len(CUT)].rpartition("\n")[0] + CUT


class Registry:
    """One registered model of the tracking store.

    What the store raises is one line that names it, here and in every method.

    Args:
        name: name of the registered model, which need not exist yet.

    Raises:
        PipelineError: the store cannot be used.
    """

    def __init__(self, name: str) -> None:
        mlflow.set_tracking_uri(uri := tracking_uri())
        self._name = name
        with store_errors(uri):
            self._client = open_client(uri)

    @store_errors()
    def shipped(self, run_id: str) -> ShippedRun:
        """Read what a run says of the model that it shipped.

        Args:
            run_id: id of the run.

        Raises:
            PipelineError: there is no such run, it is not FINISHED, it shipped no model, it was not
                timed, or it was made before validation decided.
        """
        run = find_run(self._client, run_id)
        metrics = run.data.metrics
        if run.info.status != FINISHED:
            raise PipelineError(
                f"run {run_id} is {run.info.status}; only a FINISHED run can be promoted."
            )
        if SHIPPED_TAG not in run.data.tags:
            raise PipelineError(
                f"run {run_id} shipped no model; run it with export=all or export=onnx."
            )
        if SPEEDUP not in metrics:
            raise PipelineError(f"run {run_id} was not timed; run it with benchmark=default.")
        if not {FP32_VALIDATION, DEFAULT_OBJECTIVE} <= metrics.keys():
            raise PipelineError(
                f"run {run_id} has no figure {FP32_VALIDATION}, as an earlier version made it; "
                f"repeat it: {_rerun(run_id)}"
            )
        return ShippedRun(
            run_id=run_id,
            name=str(run.info.run_name),
            accuracy_drop=metrics[FP32_VALIDATION] - metrics[DEFAULT_OBJECTIVE],
            speedup=metrics[SPEEDUP],
            test_accuracy=metrics[ACCURACY],
            test_interval=tuple(metrics[end] for end in interval_of(ACCURACY) if end in metrics),
            digests=digests_of(run),
            chosen_from=self._rivals(run),
        )

    def _rivals(self, run: Run) -> int:
        """Count the finished jobs of a run's sweep on its validation and test texts, and itself."""
        parent_id = run.data.tags.get(PARENT_TAG)
        if parent_id is None:
            return 1
        jobs = last_attempts(children_of(self._client, self._client.get_run(parent_id)))
        corpus = corpus_of(run)
        rivals = [job for job in jobs if job.info.status == FINISHED and corpus_of(job) == corpus]
        return max(1, len(rivals))

    @store_errors()
    def champion(self) -> str | None:
        """Return the id of the run that made the present champion; None if there is none."""
        if not self._is_registered():
            return None
        if CHAMPION_ALIAS not in self._client.get_registered_model(self._name).aliases:
            return None
        version = self._client.get_model_version_by_alias(self._name, CHAMPION_ALIAS)
        return str(version.run_id)

    def champion_directory(self) -> Path:
        """Fetch the directory with the champion's file.

        Raises:
            PipelineError: its files are gone.
        """
        try:
            return model_directory(f"models:/{self._name}@{CHAMPION_ALIAS}")
        except PipelineError as error:
            raise PipelineError(
                f"the champion cannot be measured: {error} Take the alias {CHAMPION_ALIAS} off in "
                "the MLflow UI, or choose another --name."
            ) from error

    @store_errors()
    def config(self, run_id: str) -> Config:
        """Read the config that a run logged.

        Args:
            run_id: id of the run.
        """
        folder = fetch(self._client, find_run(self._client, run_id), CONFIG)
        return cast(Config, OmegaConf.to_object(read_logged(folder)))

    @store_errors()
    def card(self, run_id: str, label_names: Sequence[str], reasons: str) -> str:
        """Write the model card of a run.

        Args:
            run_id: id of the run.
            label_names: labels that its model answers with.
            reasons: what the gate said.
        """
        run = find_run(self._client, run_id)
        return model_card(run, self.config(run_id), label_names, reasons)

    @store_errors()
    def linear_directory(self, run_id: str) -> Path | None:
        """Fetch the linear model that a run was compared with; None if there was none.

        Args:
            run_id: id of the run.
        """
        if not self._client.list_artifacts(run_id, LINEAR):
            return None
        return fetch(self._client, find_run(self._client, run_id), LINEAR)

    @store_errors()
    def best_of_sweep(self, sweep: str) -> str:
        """Return the id of a sweep's FINISHED run that is best by the sweep's first objective.

        The other objectives decide ties, then the speed-up.

        Args:
            sweep: id or name of the sweep's run, or "latest".

        Raises:
            PipelineError: there is no such sweep, none of its runs is FINISHED with a shipped
                model, or they are on several corpora, so that no figure says which is best.
        """
        parent = find_sweep(self._client, sweep)
        objectives = objectives_of(parent)
        runs = last_attempts(children_of(self._client, parent))
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
        names = (*objectives, SPEEDUP)
        corpora = by_corpus(finished)
        best = {
            key: max(group, key=lambda run: rank(run.data.metrics, names))
            for key, group in corpora.items()
        }
        if len(best) > 1:
            marks = digest_marks(corpora)
            listed = [_listed(run, marks[key], objectives[0]) for key, run in best.items()]
            raise PipelineError(
                f"sweep {parent.info.run_name} has runs on {len(best)} corpora, whose figures are "
                f"no rivals; promote the best run of one corpus by its id: {', '.join(listed)}."
            )
        (only,) = best.values()
        return str(only.info.run_id)

    @store_errors()
    def promote(self, run_id: str, card: str) -> str:
        """Register a run's model and move the alias to it; an error leaves neither half done.

        Args:
            run_id: id of the run whose model passed the gate.
            card: its model card, which the run gets beside the model, and the version as its
                description; so does the registered model, unless somebody has described it.

        Returns:
            The number of the version.
        """
        with contextlib.ExitStack() as undo:
            if not self._is_registered():
                self._client.create_registered_model(self._name)
                undo.callback(self._client.delete_registered_model, self._name)
            # MLflow 3.17 prints what pipeline.promote says better.
            with contextlib.redirect_stderr(io.StringIO()):
                version = mlflow.register_model(f"runs:/{run_id}/{MODEL}", self._name)
            undo.callback(self._client.delete_model_version, self._name, version.version)
            before = self._client.get_registered_model(self._name).description or ""
            if not before or before in self._cards():
                self._client.update_registered_model(self._name, _shortened(card))
                undo.callback(self._client.update_registered_model, self._name, before)
            shown = _shortened(card)
            self._client.update_model_version(self._name, version.version, description=shown)
            self._client.log_text(run_id, card, CARD_FILE)
            undo.callback(self._discard_card, run_id)
            self._client.set_registered_model_alias(self._name, CHAMPION_ALIAS, version.version)
            undo.pop_all()
        return str(version.version)

    def _cards(self) -> set[str]:
        """Return the descriptions of all versions, which promote() wrote."""
        versions = every_page(
            lambda token: self._client.search_model_versions(
                f"name = '{self._name}'", page_token=token
            )
        )
        return {str(version.description) for version in versions}

    def _discard_card(self, run_id: str) -> None:
        with contextlib.suppress(Exception):  # of MLflow's stores, some cannot delete
            uri = self._client.get_run(run_id).info.artifact_uri
            get_artifact_repository(uri).delete_artifacts(CARD_FILE)  # type: ignore[no-untyped-call]

    @store_errors()
    def log_decision(self, run_id: str, decision: str, verdicts: Sequence[Check]) -> None:
        """Write the decision to the candidate's run, as a tag and as promotion.json.

        Args:
            run_id: id of the run that was decided on.
            decision: the decision in one line.
            verdicts: verdict of every line of the gate.
        """
        self._client.set_tag(run_id, PROMOTION_TAG, decision[:TAG_LENGTH])
        record = {"decision": decision, "gate": [asdict(check) for check in verdicts]}
        self._client.log_dict(run_id, record, PROMOTION_FILE)

    def _is_registered(self) -> bool:
        """Tell whether the registered model exists.

        get_registered_model does not tell a model that is missing from a store that fails.
        """
        return self._name in registered_names(self._client)


def _listed(run: Run, mark: str, objective: str) -> str:
    """Name a run by its id, its corpus and what it reached there."""
    figure = f"{objective} {run.data.metrics[objective]:.4g}"
    return f"{run.info.run_id} ({dataset_of(run)}{mark}, {figure})"


def _rerun(run_id: str) -> str:
    """Write the command that repeats a run in the store that promote reads."""
    uri = tracking_uri()
    group = [] if uri == DEFAULT_TRACKING_URI else ["tracking=server"]  # reads the variable
    return command(uri, "-m", "pipeline", f"rerun={run_id}", *group)
