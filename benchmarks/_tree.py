"""Run a Python process with all that it starts, and measure its time and its peak memory."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import psutil
from _process import ROOT, Measurement

SECONDS_BETWEEN_LOOKS = 0.2
# Shared memory is counted by walking through all of a process's pages. Looks at the processes of
# Ray, five a second, took a quarter of a CPU, which the measured processes then lacked.
PAUSE_RATIO = 100


def measure_tree(*arguments: str) -> Measurement:
    """Run `python ARGUMENTS` in the repository's root, and look at its processes again and again.

    Args:
        arguments: what follows the interpreter's name.

    Returns:
        As of measure(), of the process and all that it started. Memory that processes share, such
        as Ray's object store, is counted once (PSS). What ends between two looks is not seen.
    """
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        looks = _Looks(psutil.Process(process.pid))
        watching = threading.Thread(target=looks.watch)
        watching.start()
        code = process.wait()
        wall_s = time.perf_counter() - started
        looks.ended.set()
        watching.join()
        output.seek(0)
        text = output.read()
    if code:
        sys.exit(f"python {' '.join(arguments)} ended with {code}:\n{text}")
    return Measurement(wall_s, sum(looks.cpu_s.values()), looks.peak_bytes / 1e6, text)


class _Looks:
    """What was seen of a process and its descendants.

    Args:
        root: the process.

    Attributes:
        ended: to be set when the process has ended.
        cpu_s: seconds of processor time by process id.
        peak_bytes: largest sum of their memory.
    """

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self.ended = threading.Event()
        self.cpu_s: dict[int, float] = {}
        self.peak_bytes = 0

    def watch(self) -> None:
        """Look until the process has ended."""
        pause_s = SECONDS_BETWEEN_LOOKS
        while not self.ended.wait(pause_s):
            began = time.perf_counter()
            self.peak_bytes = max(self.peak_bytes, sum(self._memory()))
            pause_s = max(SECONDS_BETWEEN_LOOKS, PAUSE_RATIO * (time.perf_counter() - began))

    def _memory(self) -> Iterator[int]:
        try:
            processes = (self._root, *self._root.children(recursive=True))
        except psutil.Error:  # it has just ended
            return
        for process in processes:
            try:
                times = process.cpu_times()
                self.cpu_s[process.pid] = times.user + times.system
                yield process.memory_full_info().pss
            except psutil.Error:
                continue
