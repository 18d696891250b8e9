"""Know the best of a sweep's runs while they end, without looking at all of them each time."""

from collections.abc import Iterable, Sequence

from pipeline.config.objectives import rank
from pipeline.names import FINISHED
from pipeline.sweeps.children import ChildRun


class Standings:
    """Which of a sweep's runs is the best by the first objective; the next ones decide ties.

    Of a job that was run again, as after a change of its data, the run that was added last counts.
    Of runs that are equally good, the one that started first is the best.

    Args:
        objectives: names of figures, the most important first.
    """

    def __init__(self, objectives: Sequence[str]) -> None:
        self.best: ChildRun | None = None
        self._objectives = objectives
        self._finished: dict[str, ChildRun] = {}  # by the run's id
        self._last: dict[str, ChildRun] = {}  # by the job's config
        self._leaders: set[str] = set()  # ids of the runs that are as good as the best

    def add(self, children: Iterable[ChildRun]) -> list[ChildRun]:
        """Add runs, of which those count that are FINISHED with the first objective.

        Args:
            children: runs, those of a job in the order in which it was run.

        Returns:
            The finished runs that are worse than the best, and were not so before.
        """
        worse = []
        for child in children:
            if child.status == FINISHED and child.run_id not in self._finished:
                worse += self._add(child)
        return worse

    def _add(self, child: ChildRun) -> list[ChildRun]:
        self._finished[child.run_id] = child
        earlier = self._last.get(child.config_hash)
        self._last[child.config_hash] = child
        if earlier is not None and earlier.run_id in self._leaders:
            return self._start_again()
        return self._compare(child)

    def _start_again(self) -> list[ChildRun]:
        """Look for the best among all runs, after a run that led has been run again."""
        self.best = None
        self._leaders.clear()
        for child in self._last.values():
            self._compare(child)
        return [each for run_id, each in self._finished.items() if run_id not in self._leaders]

    def _compare(self, child: ChildRun) -> list[ChildRun]:
        """Compare a run with the best; return those that are worse from now on."""
        if self.best is None:
            if self._objectives[0] not in child.metrics:
                return []
            self.best, self._leaders = child, {child.run_id}
            return [each for run_id, each in self._finished.items() if run_id != child.run_id]
        place, highest = (rank(each.metrics, self._objectives) for each in (child, self.best))
        if place < highest or self._objectives[0] not in child.metrics:
            return [child]
        if place == highest:
            self._leaders.add(child.run_id)
            self.best = min(self.best, child, key=lambda each: each.started_ms)
            return []
        worse = [self._finished[run_id] for run_id in self._leaders]
        self.best, self._leaders = child, {child.run_id}
        return worse
