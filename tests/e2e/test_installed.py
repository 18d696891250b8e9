"""Install the wheel, and use it from a folder that has nothing of the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.names import CHAMPION_ALIAS, REGISTERED_MODEL
from tests.e2e.conftest import ROOT
from tests.e2e.processes import PATIENCE_S

IN_TURN = str(ROOT / "tests/e2e/in_turn.py")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it, and nothing else, into a folder."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"  # building leaves folders beside what it builds
    for name in ("pipeline", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*built, str(source)], check=True, timeout=PATIENCE_S)
    (wheel,) = folder.glob("*.whl")
    installed = folder / "packages"
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(installed), str(wheel)], check=True
    )
    return installed


class Installed:
    """Run the installed package in a folder of its own."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_CACHE_HOME": str(folder.parent / "cache"),
        }
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def installed(site: Path, tmp_path: Path) -> Installed:
    folder = tmp_path / "empty"
    folder.mkdir()
    return Installed(site, folder)


def overrides(model: Path) -> list[str]:
    """A short run on a dataset that a config of the user's describes."""
    return [
        "dataset=mine",
        f"model.name_or_path={model}",
        "trainer.learning_rate=5e-3",
        "trainer.num_train_epochs=2",
        "export.formats=[onnx_int8]",
        "export.max_accuracy_loss=1",
        "benchmark.repetitions=1",
        "benchmark.seconds=0.01",
    ]


def test_a_run_is_trained_used_and_promoted_from_an_empty_folder(
    installed: Installed, site: Path, micro_model: Path, micro_corpus: Path
) -> None:
    config = installed.folder / "configs" / "dataset" / "mine.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"name: mine\ndata_dir: {micro_corpus}\nmax_length: 32\n", encoding="utf-8")
    where = installed("-c", "import pipeline; print(pipeline.__file__)").strip()
    assert where == str(site / "pipeline" / "__init__.py")
    run_mine = ["pipeline", "--config-dir", "configs", *overrides(micro_model)]
    printed = installed(IN_TURN, "pipeline", "--help", "--", *run_mine)
    assert "dataset: ag_news, emotion" in printed

    client = MlflowClient(f"sqlite:///{installed.folder / 'mlruns' / 'mlflow.db'}")
    (run,) = client.search_runs(["1"])
    run_id = run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.tags["git.commit"] == "unknown"
    assert {path.name for path in installed.folder.iterdir()} == {"configs", "mlruns"}

    gate = installed.folder / "any.yaml"
    gate.write_text(
        "max_accuracy_drop: 1.0\nmin_speedup: 0.0\nbeats_baseline: false\n", encoding="utf-8"
    )
    predict = ["pipeline.predict", "--model", run_id, "snow and ice"]
    promote = ["pipeline.promote", run_id, "--gate", "any.yaml"]
    report = ["pipeline.report", run_id]
    after = [*predict, "--", *promote, "--", *report, "--", "pipeline.compare"]
    printed = installed(IN_TURN, *after)
    assert '"label": "' in printed
    assert run.info.run_name in printed
    version = client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION_ALIAS)
    assert version.run_id == run_id
