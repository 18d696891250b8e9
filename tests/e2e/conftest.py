"""One finished run with every export, shared by the tests of what comes after a run."""

import gc
import os
import shutil
import sqlite3
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.tracking._tracking_service import utils as mlflow_utils

from pipeline.tracking.postgresql import PostgreSQL
from tests.e2e.processes import PATIENCE_S, Started
from tests.e2e.servers import Server

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SAID = "stderr.txt"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("e2e")


def pytest_collection_finish() -> None:
    """Keep what every run imports out of garbage collections, of which each makes a few."""
    import_module("pipeline.run")
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Deployed:
    """A finished run with every export, in a store of its own, and what it said at the terminal."""

    store: str
    run: Run
    artifacts: Path
    test: pd.DataFrame
    said: str


@pytest.fixture(scope="session")
def deployed(
    tmp_path_factory: pytest.TempPathFactory,
    migrated_store: Path,
    micro_model: Path,
    micro_corpus: Path,
) -> Deployed:
    """Run once for all workers of a session: the first that asks runs it, the others wait."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "deployed"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            folder.mkdir()
            shutil.copytree(micro_corpus, folder / "corpus")
            shutil.copy(migrated_store, folder / "mlflow.db")
            run_once(folder, micro_model)
    store = f"sqlite:///{folder / 'mlflow.db'}"
    (run,) = MlflowClient(store).search_runs(["1"])
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    test, said = pd.read_csv(folder / "corpus" / "test.csv"), (folder / SAID).read_text()
    return Deployed(store, run, artifacts, test, said)


def run_once(folder: Path, model: Path) -> None:
    overrides = [
        f"model.name_or_path={model}",
        "dataset=files",
        f"dataset.data_dir={folder / 'corpus'}",
        "dataset.max_length=32",
        "trainer.learning_rate=5e-3",
        "trainer.num_train_epochs=6",
        "export.max_accuracy_loss=0.05",  # 60 validation texts: one of them is 0.017
        "export.calibration_samples=50",
        "benchmark.repetitions=2",
        "benchmark.seconds=0.02",
        f"tracking.tracking_uri=sqlite:///{folder / 'mlflow.db'}",
        f"tracking.artifact_location={folder / 'artifacts'}",
    ]
    process = Started(*overrides)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, error
    assert "Warning" not in error, "nobody at the terminal can do anything about it"
    (folder / SAID).write_text(error)


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    """A PostgreSQL whose folder another user may reach, which pytest's own are not for."""
    with tempfile.TemporaryDirectory(prefix="test-postgresql-") as folder:
        Path(folder).chmod(0o711)
        database = PostgreSQL(Path(folder) / "postgresql")
        database.start()
        try:
            yield database
        finally:
            database.close()


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave pictures and page out of the runs in this process: drawing takes a third of a run.

    The run of the fixture `deployed`, in a process of its own, has them.
    """

    def save(figure: Figure, file: Path) -> None:
        plt.close(figure)
        file.touch()

    for module in ("corpus", "results"):
        monkeypatch.setattr(f"pipeline.reports.{module}.save", save)
    monkeypatch.setattr("pipeline.run.write_report", lambda *arguments: arguments[-1].touch())


@pytest.fixture
def own_store(deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of the store, so that a test's registrations are its own."""
    shutil.copy(deployed.store.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def own_artifacts(
    deployed: Deployed, own_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the artifacts of the run and of its model, for tests that write there.

    All workers share the original, whose place MLflow (3.17) remembers for the run's id.
    """
    monkeypatch.setattr(mlflow_utils, "_artifact_repos_cache", OrderedDict())
    original, own = deployed.artifacts.parents[1], tmp_path / "artifacts"
    shutil.copytree(original, own)
    with sqlite3.connect(own_store.removeprefix("sqlite:///")) as database:
        for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(original), str(own))
            )
    return own


@pytest.fixture
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Watch over the folder of temporary files: what is fetched lies in the store or is removed."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert not list(folder.iterdir())


@pytest.fixture
def any_gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A gate that the micro model passes, whose speed is all overhead."""
    loose = "max_accuracy_drop: 1.0\nmin_speedup: 0.0\nmin_gain: 0.9\nbeats_baseline: false\n"
    (tmp_path / "any.yaml").write_text(loose)
    (tmp_path / "honest.yaml").write_text("max_accuracy_drop: 1.0\nmin_speedup: 0.0\n")
    (tmp_path / "strict.yaml").write_text("max_accuracy_drop: -1.0\nmin_speedup: 0.0\n")
    monkeypatch.setattr("pipeline.promotion.gate.GATES", tmp_path)


@pytest.fixture
def server(tmp_path: Path, store: str) -> Iterator[Server]:
    """A real `mlflow server` over the test's store, with its artifacts in `served`."""
    server = Server(store, tmp_path / "served")
    server.start()
    try:
        yield server
    finally:
        server.stop()
