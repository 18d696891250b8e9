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
def server(model: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """Start a server, and end it with the block.

    Args:
        model: model directory.

    Yields:
        Its process and its port.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipeline.serve", "--model", str(model), "--port", str(port)]
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
    """Return the resident set of a process, in MB of 1,000,000 bytes.

    Args:
        process: a process that is alive.
        which: PEAK or NOW.
    """
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    (size,) = re.findall(rf"{which}:\s+(\d+)", status)
    return int(size) * 1024 / 1e6
