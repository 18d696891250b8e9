"""One finished run with every export, shared by the tests of what comes after a run."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, and keep the tests of one expensive fixture together."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("e2e")
            for fixture in ("deployed", "server"):
                if fixture in getattr(item, "fixturenames", ()):
                    item.add_marker(pytest.mark.xdist_group(fixture))


@dataclass(frozen=True)
class Deployed:
    """A finished run with every export, in a store of its own."""

    store: str
    run: Run
    artifacts: Path
    test: pd.DataFrame


@pytest.fixture(scope="session")
def deployed(
    tmp_path_factory: pytest.TempPathFactory,
    migrated_store: Path,
    micro_model: Path,
    micro_corpus: Path,
) -> Deployed:
    """One run for the whole session: it takes half a minute."""
    folder = tmp_path_factory.mktemp("deployed")
    shutil.copy(migrated_store, folder / "mlflow.db")
    store = f"sqlite:///{folder / 'mlflow.db'}"
    overrides = [
        f"model.name_or_path={micro_model}",
        "dataset=files",
        f"dataset.data_dir={micro_corpus}",
        "dataset.max_length=32",
        "trainer.learning_rate=5e-3",
        "trainer.num_train_epochs=6",
        "export.max_accuracy_loss=0.05",  # 60 test texts: one of them is 0.017
        "export.calibration_samples=50",
        "benchmark.repetitions=2",
        "benchmark.seconds=0.02",
        f"tracking.tracking_uri={store}",
        f"tracking.artifact_location={folder / 'artifacts'}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *overrides],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    (run,) = MlflowClient(store).search_runs(["1"])
    return Deployed(
        store,
        run,
        Path(run.info.artifact_uri.removeprefix("file://")),
        pd.read_csv(micro_corpus / "test.csv"),
    )


@pytest.fixture
def own_store(deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of the store, so that a test's registrations are its own."""
    shutil.copy(deployed.store.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def any_gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A gate that the micro model passes, whose speed is all overhead."""
    (tmp_path / "any.yaml").write_text("max_accuracy_drop: 1.0\nmin_speedup: 0.0\n")
    (tmp_path / "strict.yaml").write_text("max_accuracy_drop: -2.0\nmin_speedup: 0.0\n")
    monkeypatch.setattr("pipeline.promotion.gate.GATES", tmp_path)
