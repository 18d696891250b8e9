"""Start the project's server for a benchmark, and read the memory that it takes."""

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PEAK, NOW = "VmHWM", "VmRSS"  # resident set, as /proc/PID/status names it


@contextmanager
def server(model: Path, workers: int = 1) -> Iterator[tuple[subprocess.Popen, int]]:
    """Start a server, and end it with the block.

    Args:
        model: model directory.
        workers: its processes.

    Yields:
        Its process and its port.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipeline.serve", "--model", str(model), "--port", str(port)]
    command += ["--workers", str(workers)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield process, port
    finally:
        process.terminate()
        process.wait()


def memory_mb(process: subprocess.Popen, which: str) -> float:
    """Return the resident set of a process and its children, in MB of 1,000,000 bytes.

    Args:
        process: a process that is alive.
        which: PEAK or NOW.
    """
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8")
    sizes = []
    for pid in (process.pid, *children.split()):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        sizes += re.findall(rf"{which}:\s+(\d+)", status)
    return sum(map(int, sizes)) * 1024 / 1e6
