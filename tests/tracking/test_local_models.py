"""What SQLite says against what MLflow says, of models that MLflow logged and registered."""

import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking.local_models import local_path, model_of_run, registered_model

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Logged:
    """A run whose model is version 1 of `ours`, its champion."""

    store: str
    client: MlflowClient
    run_id: str
    model_id: str


@pytest.fixture
def logged(store: str, tmp_path: Path) -> Logged:
    mlflow.set_tracking_uri(store)
    client = MlflowClient(store)
    location = (tmp_path / "the artifacts").as_uri()
    experiment = client.create_experiment("mine", artifact_location=location)
    code = tmp_path / "model.py"
    code.write_text(
        "import mlflow\n"
        "class Model(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input: list[str], params=None):\n"
        "        return model_input\n"
        "mlflow.models.set_model(Model())\n"
    )
    with mlflow.start_run(experiment_id=experiment) as run:
        model = mlflow.pyfunc.log_model(name="model", python_model=str(code), pip_requirements=[])
    mlflow.register_model(f"runs:/{run.info.run_id}/model", "ours")
    client.set_registered_model_alias("ours", "champion", "1")
    return Logged(store, client, run.info.run_id, model.model_id)


def test_models_are_found_where_mlflow_finds_them(logged: Logged) -> None:
    of_mlflow = local_path(logged.client.get_logged_model(logged.model_id).artifact_location)
    assert of_mlflow is not None
    assert (of_mlflow / "MLmodel").is_file()
    assert model_of_run(logged.store, logged.run_id) == of_mlflow
    assert registered_model(logged.store, "ours", "champion", None) == of_mlflow
    assert registered_model(logged.store, "ours", None, "1") == of_mlflow


def test_mlflow_is_asked_of_what_is_not_there(logged: Logged, tmp_path: Path) -> None:
    assert model_of_run(logged.store, "0" * 32) is None
    assert registered_model(logged.store, "ours", "challenger", None) is None
    assert registered_model(logged.store, "ours", None, "2") is None
    assert registered_model(logged.store, "theirs", None, "1") is None
    assert model_of_run("http://127.0.0.1:5000", logged.run_id) is None
    assert model_of_run(f"sqlite:///{tmp_path / 'nowhere.db'}", logged.run_id) is None
    assert not (tmp_path / "nowhere.db").exists()
    logged.client.delete_logged_model(logged.model_id)
    assert model_of_run(logged.store, logged.run_id) is None


def test_mlflow_is_asked_where_the_tables_are_others(logged: Logged) -> None:
    with sqlite3.connect(logged.store.removeprefix("sqlite:///")) as db:
        db.execute("ALTER TABLE logged_models RENAME COLUMN artifact_location TO place")
    assert model_of_run(logged.store, logged.run_id) is None


def test_another_registry_is_asked_through_mlflow(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:5000")
    assert registered_model(logged.store, "ours", "champion", None) is None
    assert model_of_run(logged.store, logged.run_id) is not None


def test_neither_a_run_nor_a_registered_model_needs_mlflow(logged: Logged) -> None:
    program = (
        "import sys\n"
        "from pipeline import predict\n"
        "from pipeline.tracking.locate_model import mlflow_directory\n"
        f"names = ({logged.run_id!r}, 'models:/ours@champion')\n"
        "found = [mlflow_directory(name) for name in names]\n"
        "assert all((each / 'MLmodel').is_file() for each in found)\n"
        "assert not {'mlflow', 'torch'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": logged.store}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
