"""What the person at the terminal sees of a sweep: a line for every job that ends, and a bar with the best so far."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from tqdm import tqdm

from pipeline.config.objectives import gain
from pipeline.errors import PipelineError
from pipeline.sweeps.parent_run import Child, Parent

POLL_SECONDS = 1.0


class Progress:
    """A bar over the jobs of a sweep; without a terminal, the lines alone.

    Args:
        jobs: how many there are, those that are skipped among them.
        objectives: figures that are shown, the most important first.
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
        self._bar.write(line, file=self._stream)

    def skip(self, jobs: int, best: Child | None) -> None:
        """Count jobs that need not run, the best of which is the one to beat."""
        if best is not None:
            self._best = best.metrics[self._objectives[0]]
        if jobs:
            self._ended += jobs
            self._bar.update(jobs)
            self.say(
                f"{jobs} of {self._jobs} jobs have ended before and are skipped (sweep.fresh=true runs them anew)"
            )

    @contextlib.contextmanager
    def watching(
        self, parent: Parent, known: set[str], changed: Callable[[], None]
    ) -> Iterator[None]:
        """Follow the sweep's runs while the block launches them, wherever they run.

        Args:
            parent: the sweep's run.
            known: ids of runs that were there before.
            changed: called after jobs have ended.
        """
        reported = set(known)
        done = threading.Event()

        def poll() -> None:
            while not done.wait(POLL_SECONDS):
                with contextlib.suppress(PipelineError):  # a store that is away for a while
                    if self._report(parent, reported):
                        changed()
                    parent.beat()

        thread = threading.Thread(target=poll, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            with contextlib.suppress(PipelineError):
                self._report(parent, reported)
            self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def _report(self, parent: Parent, reported: set[str]) -> bool:
        before = self._ended
        for child in parent.children():
            if child.run_id in reported or child.status == "RUNNING":
                continue
            reported.add(child.run_id)
            self._ended += 1
            self.say(f"job {self._ended} of {self._jobs} {self._told(child)}")
            self._bar.update(1)
            if self._best is not None:
                self._bar.set_postfix_str(f"best {self._objectives[0]} {self._best:.4g}")
        return self._ended > before

    def _told(self, child: Child) -> str:
        seconds = (child.ended - child.started) / 1000
        if child.status != "FINISHED":
            return f"{child.status} after {seconds:.0f} s: {child.name}: {child.reason}"
        figures = ", ".join(
            f"{name} {child.metrics[name]:.4g}"
            for name in self._objectives
            if name in child.metrics
        )
        value = child.metrics.get(self._objectives[0])
        first = self._objectives[0]
        best = value is not None and (
            self._best is None or gain(first, value) > gain(first, self._best)
        )
        if best:
            self._best = value
        return f"FINISHED after {seconds:.0f} s: {child.name}: {figures}{' (the best so far)' if best else ''}"
