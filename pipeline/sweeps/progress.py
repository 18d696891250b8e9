"""Show a sweep at the terminal: a line for every job that ends, and a bar with the best so far."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from tqdm import tqdm

from pipeline.config.objectives import gain
from pipeline.console.markdown import printable
from pipeline.errors import PipelineError
from pipeline.names import FINISHED
from pipeline.sweeps.children import ChildRun
from pipeline.tracking.patience import PATIENCE_SECONDS

# A poll reads all jobs that run, some 15 ms of CPU each: it is a twentieth of the time at most,
# unless a line at the terminal would be late by more than half a minute.
POLL_SECONDS = 1.0
PAUSE_RATIO = 20
LONGEST_PAUSE_S = 30.0

ReadEnded = Callable[[float], Sequence[ChildRun]]
"""Reads the runs that have ended since the last call; takes the seconds to wait for the store."""


class Progress:
    """A bar over the jobs of a sweep; without a terminal, the lines alone.

    Args:
        jobs: number of jobs, those that are skipped included.
        objectives: names of the figures to show, the most important first.
    """

    def __init__(self, jobs: int, objectives: Sequence[str]) -> None:
        self._jobs = jobs
        self._objectives = objectives
        self._stream: TextIO = sys.stderr  # jobs in this process have their own
        self._ended = 0
        self._best: float | None = None
        self._bar = tqdm(
            total=jobs,
            unit="job",
            file=self._stream,
            disable=not self._stream.isatty(),
            leave=False,
            dynamic_ncols=True,
        )

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(printable(line), file=self._stream)

    def skip(self, jobs: int, best: ChildRun | None) -> None:
        """Count jobs that need not run.

        Args:
            jobs: number of those jobs.
            best: best finished run of the sweep, which the next ones are measured against.
        """
        if best is not None:
            self._best = best.metrics[self._objectives[0]]
        if jobs:
            self._ended += jobs
            self._bar.update(jobs)
            self.say(
                f"{jobs} of {self._jobs} jobs have ended before and are skipped "
                "(sweep.fresh=true runs them again)"
            )

    @contextlib.contextmanager
    def watching(self, read: ReadEnded, after_read: Callable[[bool], None]) -> Iterator[None]:
        """Follow the sweep's runs while the block launches them, wherever they run.

        Args:
            read: reads the runs that have ended.
            after_read: function to call after each read, with whether runs had ended; it may not
                wait for the store.
        """
        done = threading.Event()

        def poll() -> None:
            wait_s = POLL_SECONDS
            while not done.wait(wait_s):
                began = time.monotonic()
                with contextlib.suppress(PipelineError):  # a store that is away for a while
                    after_read(self._report(read(0.0)))
                wait_s = _pause_s(time.monotonic() - began)

        thread = threading.Thread(target=poll, name="progress", daemon=True)
        thread.start()
        patience_s = 0.0  # of what ends early
        try:
            yield
            patience_s = PATIENCE_SECONDS
        finally:
            done.set()
            thread.join()
            with contextlib.suppress(PipelineError):
                self._report(read(patience_s))
            self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def _report(self, ended: Sequence[ChildRun]) -> bool:
        """Report runs that have ended; return whether there are any."""
        for run in ended:
            self._ended += 1
            is_best = self._is_best(run)
            if is_best:
                self._best = run.metrics[self._objectives[0]]
            self.say(f"job {self._ended} of {self._jobs} {self._ending(run, is_best)}")
            self._bar.update(1)
            if self._best is not None:
                self._bar.set_postfix_str(f"best {self._objectives[0]} {self._best:.4g}")
        return bool(ended)

    def _is_best(self, run: ChildRun) -> bool:
        objective = self._objectives[0]
        if run.status != FINISHED or objective not in run.metrics:
            return False
        return self._best is None or gain(objective, run.metrics[objective]) > gain(
            objective, self._best
        )

    def _ending(self, run: ChildRun, is_best: bool) -> str:
        """Say how a run ended, and with which figures or why."""
        seconds = (run.ended_ms - run.started_ms) / 1000
        start = f"{run.status} after {seconds:.0f} s: {run.name}: "
        if run.status != FINISHED:
            return f"{start}{run.reason}"
        figures = ", ".join(
            f"{name} {run.metrics[name]:.4g}" for name in self._objectives if name in run.metrics
        )
        return f"{start}{figures}{' (the best so far)' if is_best else ''}"


def _pause_s(poll_s: float) -> float:
    """Return the seconds between a poll that took so long and the next."""
    return min(max(POLL_SECONDS, PAUSE_RATIO * poll_s), LONGEST_PAUSE_S)
