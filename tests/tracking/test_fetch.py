import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.errors import PipelineError
from pipeline.tracking import fetch as module
from pipeline.tracking.fetch import fetch


def test_what_a_store_on_this_machine_has_is_read_where_it_lies(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(store)
    run = client.create_run("0")
    client.log_text(run.info.run_id, "accuracy: 1", "config/config.yaml")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert (fetch(client, run, "config") / "config.yaml").read_text() == "accuracy: 1"
    assert (fetch(client, run) / "config" / "config.yaml").is_file()
    assert not list((tmp_path / "temporary").iterdir())
    with pytest.raises(PipelineError, match=f"run {run.info.run_id} has lost its files"):
        fetch(client, run, "fp32")


def test_what_a_server_has_is_copied_once_and_removed_at_the_end(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_end: list[Callable[[], None]] = []
    monkeypatch.setattr(
        module.atexit,
        "register",
        lambda function, *args, **options: at_the_end.append(lambda: function(*args, **options)),
    )
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    copies = []

    def download(self: MlflowClient, run_id: str, name: str, folder: str) -> str:
        copies.append(run_id)
        (Path(folder) / name).mkdir()
        return str(Path(folder) / name)

    monkeypatch.setattr(MlflowClient, "download_artifacts", download)
    client = MlflowClient(store)
    places = [fetch(client, away(run_id), "config") for run_id in ("a", "a", "b")]
    assert copies == ["a", "b"]
    assert places[0] == places[1] != places[2]
    assert all(place.is_dir() for place in places)
    for function in at_the_end:
        function()
    assert not list(tmp_path.glob("pipeline-*"))


def away(run_id: str) -> Run:
    """A run whose artifacts a server has."""
    return SimpleNamespace(
        info=SimpleNamespace(run_id=run_id, artifact_uri=f"mlflow-artifacts:/0/{run_id}/artifacts")
    )
