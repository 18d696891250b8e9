"""Run a whole Python process, and measure its time and its peak memory."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Measurement:
    """What one process took from start to exit.

    Args:
        wall_s: seconds of wall time, imports included.
        cpu_s: seconds of processor time over all threads; steadier than wall time on a machine that
            others use too.
        peak_mb: largest resident set, MB of 1,000,000 bytes; of the process itself, not its
            children.
        output: standard output and error.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def measure(*arguments: str, exit_code: int = 0) -> Measurement:
    """Run `python ARGUMENTS` in the repository's root.

    Args:
        arguments: what follows the interpreter's name.
        exit_code: exit code that is expected; any other stops the benchmark and prints the
            process's output.
    """
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        output.seek(0)
        text = output.read()
    actual_code = os.waitstatus_to_exitcode(status)
    if actual_code != exit_code:
        sys.exit(f"python {' '.join(arguments)} ended with {actual_code}:\n{text}")
    return Measurement(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, text)
