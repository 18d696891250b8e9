"""Log one run to MLflow: its config, curves, figures, artifacts and true status."""

import contextlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

import mlflow
import yaml
from mlflow.data.huggingface_dataset import from_huggingface
from mlflow.entities import Metric, Param, RunStatus
from mlflow.environment_variables import MLFLOW_RUN_ID
from mlflow.tracking import MlflowClient

from pipeline.config.identity import config_hash, flatten
from pipeline.config.objectives import promised_figures
from pipeline.config.schema import Config
from pipeline.console import interrupt
from pipeline.errors import JobPrunedError, PipelineError, reason_line, redacted
from pipeline.names import (
    CONFIG,
    CONFIG_FILE,
    CONFIG_HASH_TAG,
    CORPUS,
    FAILURE_TAG,
    FINISHED,
    MLFLOW_CONTEXTS,
    MODEL,
    OPENVINO_INT8,
    PACKAGES_FILE,
    PARENT_TAG,
    PRUNED_TAG,
    SHIPPED_TAG,
    VALIDATION_ACCURACY,
    figure_of,
)
from pipeline.tracking.connection import Connection, open_experiment
from pipeline.tracking.environment import environment_tags, installed_packages
from pipeline.tracking.liveness import process_tags
from pipeline.tracking.lookup import search_all
from pipeline.tracking.outbox import STORE_ERRORS, Outbox
from pipeline.tracking.run_names import description, run_name
from pipeline.tracking.store import TAG_LENGTH, store_errors

if TYPE_CHECKING:
    import datasets

PARAMS_PER_BATCH = 100  # MLflow's limit
LAST_FLUSH_SECONDS = 30.0  # for the metrics of a run that ended early
PACKAGE = Path(__file__).parents[1]
MODEL_CODE = PACKAGE / "inference" / "mlflow_model.py"
# What MODEL_CODE imports of this package: copied into the logged model, without the rest.
SERVED_MODULES = (
    "__init__.py",
    "cpus.py",
    "errors.py",
    *(f"inference/{name}.py" for name in ("__init__", "texts", "session", "classifier")),
)


@dataclass(frozen=True)
class RunInput:
    """A split of the corpus as an input of a run.

    Args:
        split: train, validation or test.
        rows: the split, with the column `label`.
        name: name of the dataset in MLflow.
        digest: digest of the split's texts and labels.
        source: where the texts come from.
    """

    split: str
    rows: "datasets.Dataset"
    name: str
    digest: str
    source: str


class Tracker:
    """Log to one open MLflow run.

    Args:
        connection: the open experiment.
        run: the run, as MLflow returned it.
        outbox: queue of the run's metrics.
        promised: every figure that the finished run has to have, but the corpus's own.
    """

    def __init__(
        self,
        connection: Connection,
        run: "mlflow.entities.Run",
        outbox: Outbox,
        promised: frozenset[str],
    ) -> None:
        self.run_id: str = run.info.run_id
        self.name: str = run.info.run_name
        self.next_step = connection.next_step(self.run_id)
        self._client = connection.client
        self._outbox = outbox
        self._promised = promised
        self._logged: set[str] = set()

    def log_curves(self, entries: Mapping[str, float], step: int) -> None:
        """Queue points of curves for the store.

        Args:
            entries: value by the curve's name.
            step: optimizer step over all phases.

        Raises:
            PipelineError: the store refused earlier points for good, as of a run that was deleted.
        """
        now = int(time.time() * 1000)
        with store_errors():
            self._outbox.put([Metric(name, value, now, step) for name, value in entries.items()])

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Queue final figures, which have no step, for the store.

        Args:
            figures: value by name, out of the promised ones and those of the corpus.

        Raises:
            ValueError: a figure is not promised, so that no objective could name it.
        """
        for name in figures.keys() - self._promised:
            if not name.startswith(figure_of(CORPUS, "")):
                raise ValueError(f"{name} is not in config.objectives.promised_figures")
        self._logged |= figures.keys()
        self.log_curves(figures, step=0)

    def log_tags(self, tags: Mapping[str, str | None]) -> None:
        """Set tags of the run; those that are None are left out."""
        with store_errors():
            for name, value in tags.items():
                if value is not None:
                    self._client.set_tag(self.run_id, name, value)

    def log_inputs(self, inputs: Iterable[RunInput]) -> None:
        """Record the splits as inputs of the run, by name, source and digest."""
        with store_errors():
            for each in inputs:
                dataset = from_huggingface(
                    each.rows, targets="label", name=each.name, digest=each.digest
                )
                mlflow.log_input(
                    dataset,
                    context=MLFLOW_CONTEXTS[each.split],
                    tags={"source": redacted(each.source)},
                )

    def log_folder(self, folder: Path, name: str) -> Path:
        """Store a folder as artifacts.

        Args:
            folder: directory to store.
            name: its place among the run's artifacts.

        Returns:
            Where the stored copy lies on this machine: the store itself if it is local, else a
            download beside folder.
        """
        with store_errors():
            local = self.local_artifacts
            try:
                self._client.log_artifacts(self.run_id, str(folder), name)
            except OSError:  # a full disk: half a model is useless, and the status needs room
                if local is not None:
                    shutil.rmtree(local / name, ignore_errors=True)
                raise
            if local is not None:
                return local / name
            stored = folder.with_name(f"{folder.name}-stored")
            stored.mkdir()
            return Path(self._client.download_artifacts(self.run_id, name, str(stored)))

    def log_model(self, directory: Path, variant: str, texts: list[str]) -> None:
        """Log a deployed directory as the run's MLflow model, without a pickle and without torch.

        Args:
            directory: directory of the shipped artifact.
            variant: the shipped artifact; recorded in the tag `shipped`.
            texts: example of an input.
        """
        runtime = "openvino" if variant == OPENVINO_INT8 else "onnxruntime"
        packages = ("mlflow", "numpy", "tokenizers", runtime)
        # MLflow 3.17 has its own filter of warnings, and warns of predict's type hint.
        with store_errors(), tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = Path(scratch) / PACKAGE.name
            for module in SERVED_MODULES:
                (code / module).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PACKAGE / module, code / module)
            mlflow.pyfunc.log_model(
                name=MODEL,
                python_model=str(MODEL_CODE),
                artifacts={"model": str(directory)},
                code_paths=[str(code)],
                pip_requirements=[f"{name}=={version(name)}" for name in packages],
                input_example=texts,
                metadata={"variant": variant},
            )
            self._client.set_tag(self.run_id, SHIPPED_TAG, variant)

    def sibling_curves(self) -> list[dict[int, float]]:
        """Read the validation accuracy by step of the finished jobs of the same sweep."""
        with store_errors():
            run = self._client.get_run(self.run_id)
            parent = run.data.tags[PARENT_TAG]
            siblings = search_all(
                self._client,
                [run.info.experiment_id],
                f"tags.`{PARENT_TAG}` = '{parent}' and attributes.status = '{FINISHED}'",
            )
            histories = [
                self._client.get_metric_history(sibling.info.run_id, VALIDATION_ACCURACY)
                for sibling in siblings
            ]
        return [{point.step: point.value for point in history} for history in histories]

    @property
    def local_artifacts(self) -> Path | None:
        """Where the run's artifacts lie on this machine; None if a server has them."""
        uri = urlparse(self._client.get_run(self.run_id).info.artifact_uri)
        return Path(unquote(uri.path)) if uri.scheme in {"", "file"} else None

    def check_promised(self, folders: Sequence[str]) -> None:
        """Make sure that the artifacts and figures of a finished run are there.

        Args:
            folders: artifacts that the run promises.

        Raises:
            PipelineError: a folder is missing or empty, or a figure was not logged.
        """
        with store_errors():
            lacking = [
                name for name in folders if not self._client.list_artifacts(self.run_id, name)
            ]
        if lacking:
            raise PipelineError(
                f"run {self.run_id} lacks the artifacts it promises: {', '.join(lacking)}."
            )
        if missing := sorted(self._promised - self._logged):
            raise PipelineError(
                f"run {self.run_id} lacks the figures it promises: {', '.join(missing)}."
            )


@contextlib.contextmanager
def open_run(config: Config) -> Iterator[Tracker]:
    """Open a run, log its config and environment, and close it with its true status.

    FINISHED if the block ends, KILLED on KeyboardInterrupt (and on JobPrunedError, with the tag
    `pruned`), FAILED on any other exception; the tag `failure` has the reason. A job of a sweep is
    nested under the sweep's run.

    Args:
        config: resolved config; `tracking` says where the run is stored, `sweep` whether it has a
            parent.

    Yields:
        The tracker of the open run.

    Raises:
        PipelineError: the store cannot be opened or written.
    """
    connection = open_experiment(config.tracking)
    # Databricks and `mlflow run` set it; start_run of MLflow 3.17 would open that run again.
    os.environ.pop(MLFLOW_RUN_ID.name, None)
    tags = {CONFIG_HASH_TAG: config_hash(config)}
    with store_errors():
        run = mlflow.start_run(
            experiment_id=connection.experiment_id,
            run_name=run_name(config),
            parent_run_id=config.sweep.parent_run_id,
            tags={**environment_tags(), **process_tags(), **tags},
            description=description(config),
        )
    outbox = Outbox(connection.client, run.info.run_id)
    try:
        _log_config(connection.client, run.info.run_id, config)
        yield Tracker(connection, run, outbox, promised_figures(config))
        with store_errors():
            outbox.flush()
        interrupt.check()
    except BaseException as error:
        _close_early(connection.client, run.info.run_id, outbox, error)
        raise
    finally:
        outbox.close()
    with store_errors():
        mlflow.end_run(RunStatus.to_string(RunStatus.FINISHED))


def _close_early(client: MlflowClient, run_id: str, outbox: Outbox, error: BaseException) -> None:
    """Write why a run ended, as far as the store still takes it."""
    killed = isinstance(error, KeyboardInterrupt | JobPrunedError)
    with contextlib.suppress(*STORE_ERRORS):
        outbox.flush(LAST_FLUSH_SECONDS)
    with contextlib.suppress(*STORE_ERRORS):
        tag = PRUNED_TAG if isinstance(error, JobPrunedError) else FAILURE_TAG
        client.set_tag(run_id, tag, redacted(reason_line(error))[:TAG_LENGTH])
    with contextlib.suppress(*STORE_ERRORS):
        mlflow.end_run(RunStatus.to_string(RunStatus.KILLED if killed else RunStatus.FAILED))


def _log_config(client: MlflowClient, run_id: str, config: Config) -> None:
    params = [Param(key, value) for key, value in flatten(config).items()]
    written = yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True, width=1000)
    packages = "\n".join(installed_packages())
    with store_errors(), tempfile.TemporaryDirectory() as scratch:
        for start in range(0, len(params), PARAMS_PER_BATCH):
            client.log_batch(run_id, params=params[start : start + PARAMS_PER_BATCH])
        Path(scratch, CONFIG_FILE).write_text(redacted(written), encoding="utf-8")
        Path(scratch, PACKAGES_FILE).write_text(f"{packages}\n", encoding="utf-8")
        client.log_artifacts(run_id, scratch, CONFIG)
