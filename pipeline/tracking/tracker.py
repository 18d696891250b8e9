"""One run in MLflow: its config, curves, figures, artifacts and true status."""

import contextlib
import platform
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

import mlflow
import yaml
from mlflow.data.huggingface_dataset import from_huggingface
from mlflow.entities import Metric, Param, RunStatus
from mlflow.tracking import MlflowClient

from pipeline.config.identity import config_hash, flat, major_version
from pipeline.config.schema import Config
from pipeline.console import interrupt
from pipeline.errors import PipelineError, PrunedError, reason_line
from pipeline.redaction import redacted
from pipeline.sweeps.median_pruner import VALIDATION_ACCURACY
from pipeline.tracking.connection import next_step, open_experiment
from pipeline.tracking.liveness import process_tags
from pipeline.tracking.outbox import STORE_ERRORS, Outbox
from pipeline.tracking.run_names import description, run_name
from pipeline.tracking.store import (
    FAILURE_TAG,
    HASH_TAG,
    MAJOR_TAG,
    MODEL_NAME,
    PARENT_TAG,
    PRUNED_TAG,
    SHIPPED_TAG,
    TAG_LENGTH,
    store_errors,
)

if TYPE_CHECKING:
    from pipeline.data.corpus import Corpus

PARAMS_PER_BATCH = 100  # MLflow's limit
KEY_PACKAGES = (
    "torch",
    "transformers",
    "optimum-intel",
    "neural-compressor",
    "hydra-core",
    "mlflow",
)
LAST_WORDS_SECONDS = 30.0  # for the metrics of a run that ended early
SERVED_MODULES = ("__init__.py", "errors.py", "inference/__init__.py", "inference/classifier.py")


class Tracker:
    """One open MLflow run.

    Args:
        client: of the tracking store.
        run_id: the run.
        name: the run's name.
        next_step: the command or address that shows the run.
        outbox: takes the run's metrics.
    """

    def __init__(
        self, client: MlflowClient, run_id: str, name: str, next_step: str, outbox: Outbox
    ) -> None:
        self.run_id = run_id
        self.name = name
        self.next_step = next_step
        self._client = client
        self._outbox = outbox

    def log_curves(self, entries: Mapping[str, float], step: int) -> None:
        """Log points of curves, without waiting for the store."""
        now = int(time.time() * 1000)
        self._outbox.put([Metric(name, value, now, step) for name, value in entries.items()])

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Log final figures, which have no step, without waiting for the store."""
        self.log_curves(figures, step=0)

    def log_corpus(self, corpus: "Corpus") -> None:
        """Record each split as an input of the run, by name, source and digest."""
        contexts = {"train": "training", "validation": "validation", "test": "testing"}
        with store_errors():
            for split, rows in corpus.splits.items():
                dataset = from_huggingface(
                    rows,
                    targets="label",
                    name=f"{corpus.name}-{split}",
                    digest=corpus.digest(split),
                )
                mlflow.log_input(
                    dataset, context=contexts[split], tags={"source": redacted(corpus.source)}
                )

    def log_folder(self, folder: Path, name: str) -> Path:
        """Store a folder as artifacts.

        Args:
            folder: what to store.
            name: its place among the run's artifacts.

        Returns:
            Where the stored copy lies on this machine: the store itself if it is local, else a download beside folder.
        """
        with store_errors():
            local = self.local_artifacts
            try:
                self._client.log_artifacts(self.run_id, str(folder), name)
            except (
                OSError
            ):  # a full disk: half a model is of no use, and the run's status has to be written yet
                if local is not None:
                    shutil.rmtree(local / name, ignore_errors=True)
                raise
            if local is not None:
                return local / name
            stored = folder.with_name(f"{folder.name}-stored")
            stored.mkdir()
            return Path(self._client.download_artifacts(self.run_id, name, str(stored)))

    def log_model(self, directory: Path, variant: str, texts: list[str]) -> None:
        """Log a deployed directory as the run's MLflow model: code instead of a pickle, and requirements without torch.

        Args:
            directory: of the shipped artifact.
            variant: the shipped artifact; recorded in the tag `shipped`.
            texts: the input example.
        """
        runtime = "openvino" if variant.startswith("openvino") else "onnxruntime"
        package = Path(__file__).parents[1]
        with store_errors(), tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # MLflow 3.17 has its own filter, and a word on predict's type hint
            # The two modules that served.py imports, not the package around them.
            code = Path(scratch) / package.name
            for module in SERVED_MODULES:
                (code / module).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(package / module, code / module)
            mlflow.pyfunc.log_model(
                name=MODEL_NAME,
                python_model=str(package / "inference" / "mlflow_model.py"),
                artifacts={"model": str(directory)},
                code_paths=[str(code)],
                pip_requirements=[
                    f"{name}=={version(name)}"
                    for name in ("mlflow", "numpy", "tokenizers", runtime)
                ],
                input_example=texts,
                metadata={"variant": variant},
            )
            self._client.set_tag(self.run_id, SHIPPED_TAG, variant)

    def finished_siblings(self) -> list[dict[int, float]]:
        """Read the validation accuracy by step of the finished runs of the same sweep."""
        with store_errors():
            own = self._client.get_run(self.run_id)
            parent = own.data.tags[PARENT_TAG]
            found = self._client.search_runs(
                [own.info.experiment_id],
                f"tags.`{PARENT_TAG}` = '{parent}' and attributes.status = 'FINISHED'",
            )
            histories = [
                self._client.get_metric_history(run.info.run_id, VALIDATION_ACCURACY)
                for run in found
            ]
            return [{point.step: point.value for point in history} for history in histories]

    @property
    def local_artifacts(self) -> Path | None:
        """Where the run's artifacts lie on this machine; None if a server has them."""
        uri = urlparse(self._client.get_run(self.run_id).info.artifact_uri)
        return Path(unquote(uri.path)) if uri.scheme in {"", "file"} else None

    def check_promised(self, folders: tuple[str, ...]) -> None:
        """Make sure that the artifacts of a finished run are there.

        Raises:
            PipelineError: a folder is missing or empty.
        """
        with store_errors():
            lacking = [
                name for name in folders if not self._client.list_artifacts(self.run_id, name)
            ]
        if lacking:
            raise PipelineError(
                f"run {self.run_id} lacks the artifacts it promises: {', '.join(lacking)}."
            )


@contextlib.contextmanager
def open_run(config: Config) -> Iterator[Tracker]:
    """Open a run, log its config and environment, and close it with its true status.

    FINISHED if the block ends, KILLED on KeyboardInterrupt (and on PrunedError, with the tag `pruned`), FAILED on any other
    exception; the tag `failure` has the reason. A job of a sweep is nested under the sweep's run.

    Args:
        config: the resolved config; `tracking` says where the run is stored, `sweep` whether it has a parent.

    Yields:
        What logs to the run.

    Raises:
        PipelineError: the store cannot be opened or written.
    """
    client, experiment_id = open_experiment(config.tracking)
    with store_errors():
        run = mlflow.start_run(
            experiment_id=experiment_id,
            run_name=run_name(config),
            parent_run_id=config.sweep.parent_run_id,
            tags={
                **environment_tags(),
                **process_tags(),
                HASH_TAG: config_hash(config),
                MAJOR_TAG: major_version(),
            },
            description=description(config),
        )
    run_id = run.info.run_id
    outbox = Outbox(client, run_id)
    show = next_step(config.tracking.tracking_uri, experiment_id, run_id)
    try:
        _log_config(client, run_id, config)
        yield Tracker(client, run_id, run.info.run_name, show, outbox)
        with store_errors():
            outbox.flush()
        interrupt.check()
    except BaseException as error:
        _close_early(client, run_id, outbox, error)
        raise
    finally:
        outbox.close()
    with store_errors():
        mlflow.end_run(RunStatus.to_string(RunStatus.FINISHED))


def _close_early(client: MlflowClient, run_id: str, outbox: Outbox, error: BaseException) -> None:
    """Write down why a run ended; what the store does not take any more cannot be helped."""
    killed = isinstance(error, KeyboardInterrupt | PrunedError)
    with contextlib.suppress(*STORE_ERRORS):
        outbox.flush(LAST_WORDS_SECONDS)
    with contextlib.suppress(*STORE_ERRORS):
        tag = PRUNED_TAG if isinstance(error, PrunedError) else FAILURE_TAG
        client.set_tag(run_id, tag, redacted(reason_line(error))[:TAG_LENGTH])
    with contextlib.suppress(*STORE_ERRORS):
        mlflow.end_run(RunStatus.to_string(RunStatus.KILLED if killed else RunStatus.FAILED))


def environment_tags() -> dict[str, str]:
    """Return CPU model, git commit and the versions of the packages that decide a run's figures."""
    tags = {f"version.{name}": version(name) for name in KEY_PACKAGES}
    return {**tags, "cpu.model": cpu_model(), "git.commit": git_commit()}


def cpu_model() -> str:
    """Return the CPU's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def git_commit() -> str:
    """Return the pipeline's commit, with "-dirty" if its working tree differs; "unknown" outside a git checkout."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _log_config(client: MlflowClient, run_id: str, config: Config) -> None:
    params = [Param(key, value) for key, value in flat(config).items()]
    written = yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True, width=1000)
    packages = sorted(
        {f"{package.name}=={package.version}" for package in distributions()}, key=str.lower
    )
    with store_errors(), tempfile.TemporaryDirectory() as scratch:
        for start in range(0, len(params), PARAMS_PER_BATCH):
            client.log_batch(run_id, params=params[start : start + PARAMS_PER_BATCH])
        Path(scratch, "config.yaml").write_text(redacted(written), encoding="utf-8")
        Path(scratch, "packages.txt").write_text("\n".join(packages) + "\n", encoding="utf-8")
        client.log_artifacts(run_id, scratch, "config")
