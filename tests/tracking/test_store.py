from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, UNAUTHENTICATED

from pipeline.errors import PipelineError
from pipeline.tracking.store import DEFAULT_TRACKING_URI, command, store_errors, tracking_uri


def test_the_store_is_the_one_of_the_environment_or_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(
        PipelineError,
        match=r"mlflow.db does not exist yet; a run makes it \(make quickstart\), or set MLFLOW",
    ):
        tracking_uri()
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").touch()
    assert tracking_uri() == "sqlite:///mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == "http://127.0.0.1:5000"


def test_what_a_store_raises_becomes_one_line_without_its_password() -> None:
    with (
        pytest.raises(
            PipelineError, match=r"the tracking store http://\*\*\*@host cannot be used: no route$"
        ),
        store_errors("http://me:secret@host"),
    ):
        raise MlflowException("no route\nTraceback ...")


def forbidden_upload() -> requests.HTTPError:
    response = requests.Response()
    response.status_code = 403
    return requests.HTTPError("403 Client Error for http://me:secret@host", response=response)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MlflowException("no", UNAUTHENTICATED), "it does not know this user and password"),
        (MlflowException("no", PERMISSION_DENIED), "its user may not do this"),
        (forbidden_upload(), "its user may not do this"),
        (OSError(), "OSError"),
    ],
)
def test_what_a_server_refuses_its_user_is_said_in_words(error: Exception, said: str) -> None:
    line = rf"http://\*\*\*@host cannot be used: {said}"
    with pytest.raises(PipelineError, match=line), store_errors("http://me:secret@host"):
        raise error


def test_a_command_names_a_store_that_the_environment_did_not(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(store)  # sets the variable in this process
    assert command(store, "-m", "pipeline.compare").startswith(f"MLFLOW_TRACKING_URI={store} ")
    assert "MLFLOW" not in command(DEFAULT_TRACKING_URI, "-m", "pipeline.compare")
    secret = "https://user:password@host"
    assert "MLFLOW_TRACKING_URI='https://***@host' " in command(secret, "-m", "pipeline.compare")
    monkeypatch.setattr("pipeline.tracking.store.URI_AT_START", secret)
    assert "MLFLOW" not in command(secret, "-m", "pipeline.compare")


def test_a_command_names_the_default_store_where_the_variable_names_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.tracking.store.URI_AT_START", "http://team:5000")
    shown = command(DEFAULT_TRACKING_URI, "-m", "pipeline.compare")
    assert shown.startswith(f"MLFLOW_TRACKING_URI={DEFAULT_TRACKING_URI} ")
    monkeypatch.setattr("pipeline.tracking.store.URI_AT_START", "")
    assert "MLFLOW" not in command(DEFAULT_TRACKING_URI, "-m", "pipeline.compare")
    same = f"sqlite:///{Path('mlruns/mlflow.db').absolute()}"
    monkeypatch.setattr("pipeline.tracking.store.URI_AT_START", same)
    assert "MLFLOW" not in command(DEFAULT_TRACKING_URI, "-m", "pipeline.compare")
