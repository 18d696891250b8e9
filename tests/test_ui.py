"""The address that `python -m pipeline.ui` prints, and what it starts."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline import ui
from pipeline.names import PARENT_TAG, SWEEP_TAG
from tests.conftest import listened_on
from tests.e2e.processes import PATIENCE_S
from tests.test_serve import free_port

ROOT = Path(__file__).parents[1]
WORKFLOW = "workflowType=machine_learning"


def test_the_address_is_that_of_the_newest_run_or_sweep(store: str) -> None:
    assert ui._newest(store) == f"/#/experiments?{WORKFLOW}"
    client = MlflowClient(store)
    experiment = client.create_experiment("mine")
    place = f"/#/experiments/{experiment}/runs?{WORKFLOW}"
    client.create_run(experiment, start_time=1000)
    assert ui._newest(store) == place, "an experiment of an earlier version has no views"
    client.set_experiment_tag(experiment, "mlflow.sharedViewState.runs", "{}")
    place += "&viewStateShareKey="
    assert ui._newest(store) == place + "runs"
    sweep = client.create_run(experiment, start_time=2000, tags={SWEEP_TAG: "key"}).info.run_id
    assert ui._newest(store) == place + "runs"
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.jobs-{sweep}", "{}")
    assert ui._newest(store) == f"{place}jobs-{sweep}"
    client.create_run(experiment, start_time=3000, tags={PARENT_TAG: sweep})
    assert ui._newest(store) == f"{place}jobs-{sweep}"


def test_it_serves_a_store_without_saying_where_that_is(store: str) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.ui", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": store},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert (
            process.stdout.readline() == f"open http://127.0.0.1:{port}/#/experiments?{WORKFLOW}\n"
        )
        assert store not in Path(f"/proc/{process.pid}/cmdline").read_text()
        deadline = time.monotonic() + PATIENCE_S
        answer = b""
        while not answer and time.monotonic() < deadline:
            assert process.poll() is None
            with contextlib.suppress(OSError):
                answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
            time.sleep(0.1)
        assert answer == b"OK"
        assert listened_on(port) == {"127.0.0.1"}
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_server_is_not_served_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@host:5000")
    monkeypatch.setattr(ui, "_newest", lambda uri: "/#/there")
    monkeypatch.setattr("os.execv", lambda *arguments: pytest.fail("nothing is to be started"))
    assert ui.main([]) == 0
    assert capsys.readouterr().out == "open http://host:5000/#/there\n"


@pytest.mark.parametrize("port", [0, 99999])
def test_a_port_that_cannot_be_listened_on_is_one_line(
    port: int, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setattr("os.execv", lambda *arguments: pytest.fail("nothing is to be started"))
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        assert ui.main(["--port", str(port or busy.getsockname()[1])]) == 2
    output = capsys.readouterr()
    assert "cannot be served" in output.err
    assert not output.out
