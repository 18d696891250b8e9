"""MLflow: the only module that writes to it."""

import contextlib
import hashlib
import json
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import mlflow
import yaml
from filelock import FileLock
from mlflow.data.huggingface_dataset import from_huggingface
from mlflow.entities import Metric, Param, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.redaction import redacted
from pipeline.store import DEFAULT_TRACKING_URI, MODEL_NAME, SHIPPED_TAG, SWEEP_TAG, store_errors

if TYPE_CHECKING:
    from pipeline.data import Corpus

# Curves are sent in batches: one metric costs 3 ms on SQLite, a thousand at once 70 ms.
FLUSH_ENTRIES = 500
FLUSH_SECONDS = 10.0
PARAMS_PER_BATCH = 100  # MLflow's limit
KEY_PACKAGES = ("torch", "transformers", "optimum-intel", "neural-compressor", "hydra-core", "mlflow")
SQLITE = "sqlite:///"
SERVED_MODULES = ("__init__.py", "errors.py", "runtime.py")
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # what MLflow's UI calls training, as opposed to GenAI
    "mlflow.note.content": "INT8 text classifiers: `<variant>/...` are test figures of the stored model named by the prefix, "
    "`accuracy`, `loss`, `accuracy_drop` and `size_ratio` those of the shipped one.",
}


class Tracker:
    """One open MLflow run.

    Args:
        client: of the tracking store.
        run_id: the run.
        name: the run's name.
        next_step: the command or address that shows the run.
    """

    def __init__(self, client: MlflowClient, run_id: str, name: str, next_step: str) -> None:
        self.run_id = run_id
        self.name = name
        self.next_step = next_step
        self._client = client
        self._buffer: list[Metric] = []
        self._flushed_at = time.monotonic()

    def log_curves(self, entries: Mapping[str, float], step: int) -> None:
        """Buffer points of curves; they are sent every FLUSH_SECONDS or FLUSH_ENTRIES, and at the run's end."""
        now = int(time.time() * 1000)
        self._buffer += [Metric(name, value, now, step) for name, value in entries.items()]
        if len(self._buffer) >= FLUSH_ENTRIES or time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what is buffered."""
        with store_errors():
            while self._buffer:
                self._client.log_batch(self.run_id, metrics=self._buffer[:FLUSH_ENTRIES])
                del self._buffer[:FLUSH_ENTRIES]
        self._flushed_at = time.monotonic()

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Log final figures, which have no step."""
        now = int(time.time() * 1000)
        with store_errors():
            self._client.log_batch(self.run_id, metrics=[Metric(name, value, now, 0) for name, value in figures.items()])

    def log_corpus(self, corpus: "Corpus") -> None:
        """Record each split as an input of the run, by name, source and digest."""
        contexts = {"train": "training", "validation": "validation", "test": "testing"}
        with store_errors():
            for split, rows in corpus.splits.items():
                dataset = from_huggingface(rows, targets="label", name=f"{corpus.name}-{split}", digest=corpus.digest(split))
                mlflow.log_input(dataset, context=contexts[split], tags={"source": redacted(corpus.source)})

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
            except OSError:  # a full disk: half a model is of no use, and the run's status has to be written yet
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
        package = Path(__file__).parent
        with store_errors(), tempfile.TemporaryDirectory() as scratch:
            # The two modules that served.py imports, not the package around them.
            code = Path(scratch) / package.name
            code.mkdir()
            for module in SERVED_MODULES:
                shutil.copy(package / module, code)
            mlflow.pyfunc.log_model(
                name=MODEL_NAME,
                python_model=str(package / "served.py"),
                artifacts={"model": str(directory)},
                code_paths=[str(code)],
                pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "numpy", "tokenizers", runtime)],
                input_example=texts,
                metadata={"variant": variant},
            )
            self._client.set_tag(self.run_id, SHIPPED_TAG, variant)

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
            lacking = [name for name in folders if not self._client.list_artifacts(self.run_id, name)]
        if lacking:
            raise PipelineError(f"run {self.run_id} lacks the artifacts it promises: {', '.join(lacking)}.")


@contextlib.contextmanager
def open_run(config: Config, sweep: str | None = None) -> Iterator[Tracker]:
    """Open a run, log its config and environment, and close it with its true status.

    FINISHED if the block ends, KILLED on KeyboardInterrupt, FAILED (with the tag `failure`) on any other exception.

    Args:
        config: the resolved config.
        sweep: what the runs of one sweep have in common, for the tag `sweep`; None outside a sweep.

    Raises:
        PipelineError: the store cannot be opened or written.
    """
    store = config.tracking
    tags = {**environment_tags(), "config.hash": config_hash(config)}
    with store_errors(store.tracking_uri):
        mlflow.set_tracking_uri(_prepared(store.tracking_uri))
        client = MlflowClient()
        run = mlflow.start_run(
            experiment_id=_experiment_id(client, config),
            run_name=run_name(config),
            tags={**tags, SWEEP_TAG: sweep} if sweep else tags,
            description=description(config),
        )
    run_id = run.info.run_id
    tracker = Tracker(client, run_id, run.info.run_name, _next_step(store.tracking_uri, run.info.experiment_id, run_id))
    try:
        _log_config(client, run_id, config)
        yield tracker
        tracker.flush()
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
        reason = str(error) if isinstance(error, PipelineError) else reason
        with contextlib.suppress(MlflowException, SQLAlchemyError, OSError, PipelineError):
            tracker.flush()
        with contextlib.suppress(MlflowException, SQLAlchemyError, OSError):
            client.set_tag(run_id, "failure", redacted(reason.splitlines()[0])[:5000])
        with contextlib.suppress(MlflowException, SQLAlchemyError, OSError):
            mlflow.end_run(RunStatus.to_string(RunStatus.KILLED if interrupted else RunStatus.FAILED))
        raise
    with store_errors():
        mlflow.end_run(RunStatus.to_string(RunStatus.FINISHED))


def run_name(config: Config) -> str:
    """Say what differs between runs: model, corpus, recipe and learning rate."""
    model = Path(config.model.name_or_path).name
    layers = f"-{config.model.num_hidden_layers}L" if config.model.num_hidden_layers else ""
    rate = f"{config.trainer.learning_rate:.0e}".replace("e-0", "e-")
    if float(rate) != config.trainer.learning_rate:
        rate = f"{config.trainer.learning_rate:g}"
    return f"{model}{layers}·{config.dataset.name}·{config.qat.name}·lr{rate}"


def description(config: Config) -> str:
    """One sentence for the run's page in the UI."""
    steps = ", then ".join(f"{name} ({'INT8 QAT' if phase.quantize else 'FP32'})" for name, phase in config.qat.phases.items())
    return f"`{redacted(config.model.name_or_path)}` on `{config.dataset.name}`, recipe `{config.qat.name}`: {steps}."


def config_hash(config: Config) -> str:
    """Return 16 hex digits that are equal for equal experiments, wherever they are stored and however they are shown."""
    parts = asdict(config)
    del parts["tracking"]
    del parts["trainer"]["disable_tqdm"]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


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


def flat(config: Config) -> dict[str, str]:
    """Flatten the config to dotted keys; the store's own address is not part of an experiment and is left out."""

    def walk(node: Any, prefix: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from walk(value, f"{prefix}.{key}" if prefix else key)
        else:
            yield prefix, redacted(str(node))

    parts = asdict(config)
    del parts["tracking"]
    return dict(walk(parts, ""))


def _log_config(client: MlflowClient, run_id: str, config: Config) -> None:
    params = [Param(key, value) for key, value in flat(config).items()]
    written = yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True, width=1000)
    packages = sorted({f"{package.name}=={package.version}" for package in distributions()}, key=str.lower)
    with store_errors(), tempfile.TemporaryDirectory() as scratch:
        for start in range(0, len(params), PARAMS_PER_BATCH):
            client.log_batch(run_id, params=params[start : start + PARAMS_PER_BATCH])
        Path(scratch, "config.yaml").write_text(redacted(written), encoding="utf-8")
        Path(scratch, "packages.txt").write_text("\n".join(packages) + "\n", encoding="utf-8")
        client.log_artifacts(run_id, scratch, "config")


def _next_step(uri: str, experiment_id: str, run_id: str) -> str:
    if uri.startswith(("http://", "https://")):
        return f"{redacted(uri)}/#/experiments/{experiment_id}/runs/{run_id}"
    return "make ui" if uri == DEFAULT_TRACKING_URI else f"mlflow ui --backend-store-uri {redacted(uri)}"


def _prepared(uri: str) -> str:
    """Create a SQLite store if it is new, and make its path absolute, so that the URI holds wherever MLflow uses it.

    One process at a time: the migrations that MLflow 3.17 runs on a new database collide (mlflow issue 19943).
    """
    if not uri.startswith(SQLITE):
        return uri
    file = Path(uri.removeprefix(SQLITE)).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock"), timeout=120):  # a read-only folder shows itself here
        MlflowClient(f"{SQLITE}{file}").search_experiments(max_results=1)
    return f"{SQLITE}{file}"


def _experiment_id(client: MlflowClient, config: Config) -> str:
    name, location = config.tracking.experiment_name, config.tracking.artifact_location
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    if location is not None and "://" not in location:
        location = Path(location).absolute().as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS))
    except MlflowException:  # another process made it in the meantime
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)
