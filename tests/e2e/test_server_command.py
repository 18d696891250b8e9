"""`make server`: PostgreSQL and MLflow together, on this machine."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import PipelineError
from pipeline.tracking.postgresql import PostgreSQL
from tests.conftest import listened_on
from tests.e2e.processes import PATIENCE_S
from tests.e2e.servers import free_port
from tests.e2e.test_team_server import needs_postgresql

ROOT = Path(__file__).parents[2]
pytestmark = needs_postgresql


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter."""
    with tempfile.TemporaryDirectory(prefix="test-server-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def test_ctrl_c_ends_both_and_what_was_logged_is_there_again(folder: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "pipeline.server", "--folder", str(folder)]
    for start in (1, 2):
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "MLFLOW_WORKERS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # What a shell starts in the background ignores Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert f"open {address}" in line, process.stderr and process.stderr.read()
            assert listened_on(port) == {"127.0.0.1"}
            client = MlflowClient(address)
            if start == 1:
                client.create_experiment("kept")
            kept = client.get_experiment_by_name("kept")
            assert kept is not None
            assert kept.artifact_location.startswith("mlflow-artifacts:"), "behind the server"
            with pytest.raises(PipelineError, match="runs already"):
                PostgreSQL(folder / "postgresql").start()
        finally:
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, error) == (0, "")
        assert not (folder / "postgresql/data/postmaster.pid").exists()


def test_what_a_killed_server_has_left_running_is_ended_by_the_next(folder: Path) -> None:
    killed = PostgreSQL(folder / "postgresql")
    killed.start()
    killed._lock.release()  # as the end of its process does
    following = PostgreSQL(folder / "postgresql")
    following.start()
    assert following.address != killed.address
    following.close()
    killed._let_go()
