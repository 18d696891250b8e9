"""Start the pipeline in a process of its own without importing everything again.

A fork server has done the imports once; from it, a process is there in milliseconds. Nothing has
run in the server, so that what it gives is as good as new. What is about the start or the exit of
the interpreter starts a real one instead.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from pipeline import cli
from tests.e2e import faulty

ROOT = Path(__file__).parents[2]
# Importing everything takes 10 s of a CPU, or 20, and other tests and their processes want it too.
PATIENCE_S = 500.0
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__, "pipeline.run", "pipeline.sweeps.sweep"])


class Started:
    """A process that runs `python -m pipeline ARGUMENTS`, with the interface of Popen.

    Args:
        arguments: what follows the command.
        faults: faults of tests.e2e.faulty, which the process has.
        environment: variables over those of this process.
    """

    def __init__(
        self, *arguments: str, faults: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        reader, writer = SERVER.Pipe(duplex=False)
        told = {**os.environ, **(environment or {})}
        self._process = SERVER.Process(target=_run, args=(arguments, faults, told, writer))
        self._process.start()
        writer.close()
        self.stderr = os.fdopen(os.dup(reader.fileno()), encoding="utf-8", errors="replace")
        reader.close()

    @property
    def pid(self) -> int:
        """Id of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Ask for the returncode."""
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[None, str]:
        """Wait for the end, and return what the process has said on stderr."""
        rest = self.stderr.read()  # to the end of the process; pytest's timeout bounds it
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired("pipeline", timeout)
        return None, rest


def _run(
    arguments: tuple[str, ...], faults: str, environment: dict[str, str], stderr: Connection
) -> None:
    """Be the process."""
    gc.freeze()  # what the server has imported
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # of the server's environment
    os.chdir(ROOT)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(stderr.fileno(), 2)
    stderr.close()
    # What a shell starts in the background ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["pipeline", *arguments]
    faulty.arm_all(faults)
    sys.exit(cli.main())
