"""Log one run to MLflow: its config, curves, figures, artifacts and true status."""

import atexit
import contextlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import yaml
from mlflow.data.huggingface_dataset import from_huggingface
from mlflow.entities import Metric, Param
from mlflow.environment_variables import MLFLOW_RUN_ID
from mlflow.tracking import MlflowClient, fluent

from pipeline.config.identity import config_hash, flatten
from pipeline.config.objectives import promised_figures
from pipeline.config.schema import Config
from pipeline.console import interrupt
from pipeline.errors import PipelineError, redacted
from pipeline.names import (
    CONFIG,
    CONFIG_FILE,
    CONFIG_HASH_TAG,
    CORPUS,
    MLFLOW_CONTEXTS,
    MODEL,
    OPENVINO_INT8,
    PACKAGES_FILE,
    PARENT_TAG,
    SHIPPED_TAG,
    figure_of,
)
from pipeline.tracking import views
from pipeline.tracking.connection import Connection, open_experiment
from pipeline.tracking.ending import close_early, finish
from pipeline.tracking.environment import environment_tags, installed_packages
from pipeline.tracking.liveness import process_tags
from pipeline.tracking.local_models import local_path
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.patience import PATIENCE_SECONDS, STORE_ERRORS, Patience
from pipeline.tracking.run_names import description, run_name
from pipeline.tracking.siblings import Curve, Siblings
from pipeline.tracking.store import store_errors
from pipeline.tracking.stored import PART, discard_models, models_of

if TYPE_CHECKING:
    import datasets

PARAMS_PER_BATCH = 100  # MLflow's limit
PACKAGE = Path(__file__).parents[1]
MODEL_CODE = PACKAGE / "inference" / "mlflow_model.py"
# What MODEL_CODE imports of this package: copied into the logged model, without the rest.
SERVED_MODULES = (
    "__init__.py",
    "cpus.py",
    "errors.py",
    *(
        f"inference/{name}.py"
        for name in ("__init__", "texts", "exact_sums", "session", "classifier")
    ),
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
        patience: what everything else is sent with.
        promised: every figure that the finished run has to have, but the corpus's own.
    """

    def __init__(
        self,
        connection: Connection,
        run: "mlflow.entities.Run",
        outbox: Outbox,
        patience: Patience,
        promised: frozenset[str],
    ) -> None:
        self.run_id: str = run.info.run_id
        self.name: str = run.info.run_name
        self.next_step = connection.next_step(
            views.run_place(connection.experiment_id, self.run_id)
        )
        self._client = connection.client
        self._outbox = outbox
        self._send = patience.send
        self._promised = promised
        self._logged: set[str] = set()
        parent_id = run.data.tags.get(PARENT_TAG, "")  # of a sweep
        self._siblings = Siblings(
            connection.client, connection.experiment_id, parent_id, self.run_id
        )

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
                    self._send(partial(self._client.set_tag, self.run_id, name, value))

    def log_inputs(self, inputs: Iterable[RunInput]) -> None:
        """Record the splits as inputs of the run, by name, source and digest."""
        with store_errors():
            for each in inputs:
                dataset = from_huggingface(
                    each.rows, targets="label", name=each.name, digest=each.digest
                )
                tags = {"source": redacted(each.source)}
                self._send(partial(mlflow.log_input, dataset, MLFLOW_CONTEXTS[each.split], tags))

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
            if local is not None:
                return self._stored_whole(folder, local, name)
            self._send(partial(self._client.log_artifacts, self.run_id, str(folder), name))
            stored = folder.with_name(f"{folder.name}-stored")
            stored.mkdir()
            download = partial(self._client.download_artifacts, self.run_id, name, str(stored))
            return Path(self._send(download))

    def _stored_whole(self, folder: Path, local: Path, name: str) -> Path:
        """Copy a folder to the store, where its name stands for a whole copy or is not there."""
        part = f"{name}{PART}"
        try:
            self._send(partial(self._client.log_artifacts, self.run_id, str(folder), part))
            return (local / part).replace(local / name)
        finally:
            shutil.rmtree(local / part, ignore_errors=True)

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
            self._log_model(
                name=MODEL,
                python_model=str(MODEL_CODE),
                artifacts={"model": str(directory)},
                code_paths=[str(code)],
                pip_requirements=[f"{name}=={version(name)}" for name in packages],
                input_example=texts,
                metadata={"variant": variant},
            )
            self._send(partial(self._client.set_tag, self.run_id, SHIPPED_TAG, variant))

    def _log_model(self, **options: Any) -> None:
        """Log the model once: MLflow 3.17 leaves one behind for each time that it fails."""

        def discard() -> None:
            discard_models(self._client, models_of(self._client, self.run_id))

        def log_anew() -> None:
            discard()
            mlflow.pyfunc.log_model(**options)

        try:
            self._send(log_anew)
        except BaseException:
            with contextlib.suppress(*STORE_ERRORS):
                discard()
            raise

    def sibling_curves(self, statuses: Sequence[str]) -> list[Curve]:
        """Read the validation curves of other jobs of the same sweep.

        Args:
            statuses: statuses in MLflow that those jobs may have.
        """
        with store_errors():
            return self._siblings.curves(statuses)

    @property
    def local_artifacts(self) -> Path | None:
        """Where the run's artifacts lie on this machine; None if a server has them."""
        run = self._send(partial(self._client.get_run, self.run_id))
        return local_path(run.info.artifact_uri)

    def check_promised(self, folders: Sequence[str]) -> None:
        """Make sure that the artifacts and figures of a finished run are there.

        Args:
            folders: artifacts that the run promises.

        Raises:
            PipelineError: a folder is missing or empty, or a figure was not logged.
        """
        with store_errors():
            lacking = [
                name
                for name in folders
                if not self._send(partial(self._client.list_artifacts, self.run_id, name))
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
    patience = Patience()
    # A single run is told at once that its store is away; a job is part of a sweep that goes on.
    is_job = config.sweep.parent_run_id is not None
    connection = open_experiment(config.tracking, PATIENCE_SECONDS if is_job else 0.0)
    client = connection.client
    # Databricks and `mlflow run` set it; start_run of MLflow 3.17 would open that run again.
    os.environ.pop(MLFLOW_RUN_ID.name, None)
    # MLflow 3.17 would set a run to FINISHED that Python's exit finds open, as after two Ctrl-C.
    atexit.unregister(fluent._safe_end_run)
    tags = {CONFIG_HASH_TAG: config_hash(config)}
    with store_errors():
        run = mlflow.start_run(
            experiment_id=connection.experiment_id,
            run_name=run_name(config),
            parent_run_id=config.sweep.parent_run_id,
            tags={**environment_tags(), **process_tags(), **tags},
            description=description(config),
        )
    run_id = run.info.run_id
    outbox = Outbox(client, run_id, patience)
    try:
        with interrupt.before_errors():
            _log_config(client, run_id, config, patience)
            yield Tracker(connection, run, outbox, patience, promised_figures(config))
            with store_errors():
                outbox.flush()
                interrupt.check()
                patience.send(partial(finish, client, run_id))
    except BaseException as error:
        close_early(client, run_id, outbox, patience, error)
        raise
    finally:
        outbox.close()


def _log_config(client: MlflowClient, run_id: str, config: Config, patience: Patience) -> None:
    params = [Param(key, value) for key, value in flatten(config).items()]
    written = yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True, width=1000)
    packages = "\n".join(installed_packages())
    with store_errors(), tempfile.TemporaryDirectory() as scratch:
        for start in range(0, len(params), PARAMS_PER_BATCH):
            batch = params[start : start + PARAMS_PER_BATCH]
            patience.send(partial(client.log_batch, run_id, params=batch))
        Path(scratch, CONFIG_FILE).write_text(redacted(written), encoding="utf-8")
        Path(scratch, PACKAGES_FILE).write_text(f"{packages}\n", encoding="utf-8")
        patience.send(partial(client.log_artifacts, run_id, scratch, CONFIG))
