"""Start and stop a tracking server."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.tracking.postgresql import _programs
from tests.e2e.processes import PATIENCE_S


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has_postgresql() -> bool:
    try:
        _programs(None)
    except PipelineError:
        return False
    return True


needs_postgresql = pytest.mark.skipif(not has_postgresql(), reason="PostgreSQL is not installed")


class Server:
    """A real `mlflow server` on loopback that keeps the artifacts to itself, and can be away.

    Args:
        store: address of its database.
        folder: folder of the artifacts.
        options: further options of `mlflow server`.
        environment: variables over those of this process.
    """

    def __init__(
        self, store: str, folder: Path, *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        self._command += ["--host", "127.0.0.1", "--port", str(port)]
        self._command += ["--backend-store-uri", store, "--artifacts-destination", str(folder)]
        self._command += options
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5)
                return
            except OSError:
                assert time.monotonic() < deadline, "mlflow server did not start"
                time.sleep(0.2)

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def go_away_for(self, seconds: float) -> None:
        self.stop()
        threading.Timer(seconds, self.start).start()
