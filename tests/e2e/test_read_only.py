"""Commands where nothing can be written but a scratch folder, as in a read-only container."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.e2e.conftest import ROOT
from tests.e2e.processes import PATIENCE_S
from tests.test_serve import ask, free_port

MOUNT = """
mount --make-rprivate / && mount --bind "$0" "$0" && mount --bind "$1" "$1" &&
mount -o remount,ro,bind / && mount -o remount,ro,bind "$1" && ! touch "$1/proof" 2>/dev/null &&
cd "$1" && shift && exec "$@"
"""


@pytest.fixture(params=["a read-only home", "no home"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "OMP_NUM_THREADS") if key in os.environ}
    home = {"a read-only home": str(Path.home()), "no home": "/nonexistent"}[request.param]
    (tmp_path / "scratch").mkdir()
    return {
        **kept,
        "HOME": home,
        "TMPDIR": str(tmp_path / "scratch"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
    }


@pytest.fixture
def prefix(tmp_path: Path) -> list[str]:
    """What runs a command in a mount namespace in which tmp_path alone can be written."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    prefix = ["unshare", *user, "--mount", "sh", "-c", MOUNT, str(tmp_path), str(ROOT)]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount read-only")
    return prefix


def test_a_run_its_model_and_its_server_need_a_scratch_folder_alone(
    micro: list[str], prefix: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    small = ["export=onnx", "export.max_accuracy_loss=1", "trainer.num_train_epochs=1"]
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "pipeline", *micro, *small],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (logged,) = MlflowClient(environment["MLFLOW_TRACKING_URI"]).search_runs(["1"])
    assert logged.info.status == "FINISHED"

    port = free_port()
    model = ["--model", logged.info.run_id]
    predict = ["pipeline.predict", *model, "snow and ice"]
    serve = ["pipeline.serve", *model, "--port", str(port)]
    server = subprocess.Popen(
        [*prefix, sys.executable, "tests/e2e/in_turn.py", *predict, "--", *serve],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        (served,) = ask(port, {"inputs": ["snow and ice"]})["predictions"]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
    printed = server.communicate(timeout=10)[0]
    assert server.returncode == 0
    predicted = json.loads(printed.splitlines()[0])
    assert (predicted["text"], predicted["label"]) == ("snow and ice", served["label"])
    assert not list((tmp_path / "scratch").glob("*model*")), "the copy of the model is gone"
    assert not list((tmp_path / "scratch").glob("pipeline-*"))
