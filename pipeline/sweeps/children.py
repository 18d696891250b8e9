"""Keep the runs of a sweep's jobs in memory, and read again only those that may have changed."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.names import (
    CONFIG_HASH_TAG,
    FIGURES_VERSION_TAG,
    FINISHED,
    KEPT_TAG,
    LABELS_TAG,
    LIBRARIES_TAG,
    MODEL_TAG,
    PARENT_TAG,
    PRUNED,
    RUNNING,
    SHIPPED_TAG,
    TEACHER_TAG,
)
from pipeline.tracking.lookup import (
    OLDEST_FIRST,
    digests_of,
    of_parent,
    reason_of,
    search_each,
    status_of,
)
from pipeline.tracking.patience import PATIENCE_SECONDS
from pipeline.tracking.store import store_errors

# New runs are found by their start, if the clocks of two machines differ by no more than this.
# Others are found while they run, and the last at the end of their launch, by their config.
CLOCKS_DIFFER_MS = 1000
SEARCH_RUNNING_MS = 10_000  # between two searches for runs whose clock is late
SETTLED = (FINISHED, PRUNED)  # statuses of a job that need not run again
TAGS = (
    FIGURES_VERSION_TAG,
    LIBRARIES_TAG,
    LABELS_TAG,
    MODEL_TAG,
    TEACHER_TAG,
    KEPT_TAG,
    SHIPPED_TAG,
)

Send = Callable[[Callable[[], Any], float], Any]
"""Makes a request, and waits so many seconds for a store that does not answer."""


@dataclass(frozen=True)
class ChildRun:
    """The run of a job, as it is in the store.

    Args:
        run_id: id of the run.
        name: name of the run.
        status: FINISHED, FAILED, KILLED or RUNNING as in MLflow, or PRUNED.
        reason: why the run did not finish; empty if it did, or if it goes on.
        config_hash: hash of the run's config.
        tags: those tags of the run that say what its figures depend on, and which models it has.
        digests: digests of the splits that it was given, by split.
        metrics: last value of each of the sweep's objectives by its name.
        started_ms: when it started, in ms since 1970.
        ended_ms: when it ended, in ms since 1970; 0 while it runs.
        artifact_uri: where its artifacts are.
    """

    run_id: str
    name: str
    status: str
    reason: str
    config_hash: str
    tags: Mapping[str, str]
    digests: Mapping[str, str]
    metrics: Mapping[str, float]
    started_ms: int
    ended_ms: int
    artifact_uri: str = ""


@dataclass(frozen=True)
class Place:
    """Where the runs of a sweep's jobs are.

    Args:
        client: MLflow client of the tracking store.
        experiment_id: id of the experiment.
        parent_id: id of the sweep's run.
    """

    client: MlflowClient
    experiment_id: str
    parent_id: str


class Children:
    """The runs of a sweep's jobs, the oldest first.

    The first read takes all of them. What the next ones take does not depend on how many there
    are: they read runs that have started since, that run, or that ran when they were last read.
    A run that has ended is read no more.

    Args:
        place: where the runs are.
        objectives: names of the figures to keep in memory.
        send: what requests are made with.
    """

    def __init__(self, place: Place, objectives: Sequence[str], send: Send) -> None:
        self._place = place
        self._objectives = objectives
        self._send = send
        self._runs: dict[str, ChildRun] = {}
        self._numbers: dict[str, int] = {}
        self._latest: dict[str, ChildRun] = {}
        self._settled: dict[str, ChildRun] = {}
        self._running: set[str] = set()
        self._ended_lately: dict[str, int] = {}  # starts of ended runs that a search would find
        self._statuses: Counter[str] = Counter()
        self._read_ms = 0
        self._searched_ms = 0  # for runs whose clock is late

    def __iter__(self) -> Iterator[ChildRun]:
        return iter(self._runs.values())

    @property
    def seen(self) -> int:
        """Number of runs that have been read so far: the number of the next new one."""
        return len(self._numbers)

    @property
    def statuses(self) -> Counter[str]:
        """Number of jobs by the status of their latest run."""
        return self._statuses

    @property
    def running(self) -> bool:
        """Whether a run goes on, as far as the last read has seen it."""
        return bool(self._running)

    def number(self, child: ChildRun) -> int:
        """Return how many other runs had been read when a run was read for the first time.

        Args:
            child: one of the runs.
        """
        return self._numbers[child.run_id]

    def latest(self, key: str) -> ChildRun | None:
        """Return the run of a job that came last; None if it has none.

        Args:
            key: hash of the job's config.
        """
        return self._latest.get(key)

    def settled(self, key: str) -> ChildRun | None:
        """Return the run of a job that was FINISHED or pruned last; None if there is none.

        Args:
            key: hash of the job's config.
        """
        return self._settled.get(key)

    def read(self, patience_s: float = PATIENCE_SECONDS) -> list[ChildRun]:
        """Read the runs that may have changed.

        Args:
            patience_s: seconds to wait for a store that does not answer.

        Returns:
            The runs that are new, or whose status has changed since the last read.

        Raises:
            PipelineError: the store does not answer.
        """
        now_ms = int(time.time() * 1000)
        late = bool(self._read_ms) and now_ms - self._searched_ms >= SEARCH_RUNNING_MS
        with store_errors():
            found = self._send(partial(self._search, late), patience_s)
        self._read_ms = now_ms
        if late:
            self._searched_ms = now_ms
        for run_id in self._running - found.keys():  # somebody has deleted them
            self._forget(run_id)
        return [child for child in found.values() if self._take(child)]

    def read_jobs(
        self, keys: Iterable[str], patience_s: float = PATIENCE_SECONDS
    ) -> list[ChildRun]:
        """Read the runs of jobs, whatever the clocks of their machines say.

        Args:
            keys: hash of each job's config.
            patience_s: seconds to wait for a store that does not answer, for each job.

        Returns:
            Those that are new, or whose status has changed.

        Raises:
            PipelineError: the store does not answer.
        """
        filters = [f"{self._of_parent} and tags.`{CONFIG_HASH_TAG}` = '{key}'" for key in keys]
        with store_errors():
            found = [self._send(partial(self._matching, each), patience_s) for each in filters]
        return [child for children in found for child in children if self._take(child)]

    def _search(self, late: bool) -> dict[str, ChildRun]:
        """Ask the store for the runs that may have changed, by their ids; for late clocks, too."""
        if not self._read_ms:
            return {child.run_id: child for child in self._matching(self._of_parent)}
        since_ms = max(0, self._read_ms - CLOCKS_DIFFER_MS)
        lately = {
            run: started for run, started in self._ended_lately.items() if started >= since_ms
        }
        self._ended_lately = lately
        known = f" and attributes.run_id NOT IN ({_listed(lately)})" if lately else ""
        found = self._matching(f"attributes.start_time >= {since_ms}{known}")
        if late:
            found += self._matching(f"attributes.status = '{RUNNING}'")
        if ended := sorted(self._running - {child.run_id for child in found}):
            found += self._matching(f"attributes.run_id IN ({_listed(ended)})")
        return {child.run_id: child for child in found}

    @property
    def _of_parent(self) -> str:
        return of_parent(self._place.parent_id)

    def _matching(self, filter_string: str) -> list[ChildRun]:
        """Ask the store for runs; only what is kept of them is in memory at a time.

        Runs of other sweeps are left out here: a store looks at the tags of all runs that have a
        parent if it is told which one, so that each search would take longer with each job.
        """
        place = self._place
        runs = search_each(place.client, [place.experiment_id], filter_string, OLDEST_FIRST)
        return [
            self._child(run) for run in runs if run.data.tags.get(PARENT_TAG) == place.parent_id
        ]

    def _child(self, run: Run) -> ChildRun:
        tags, metrics = run.data.tags, run.data.metrics
        return ChildRun(
            run_id=run.info.run_id,
            name=run.info.run_name,
            status=status_of(run),
            reason=reason_of(run),
            config_hash=tags.get(CONFIG_HASH_TAG, ""),
            tags={name: tags[name] for name in TAGS if name in tags},
            digests=digests_of(run),
            metrics={name: metrics[name] for name in self._objectives if name in metrics},
            started_ms=run.info.start_time,
            ended_ms=run.info.end_time or 0,
            artifact_uri=run.info.artifact_uri,
        )

    def _take(self, child: ChildRun) -> bool:
        """Keep a run; say whether it is new or its status has changed."""
        known, key = self._runs.get(child.run_id), child.config_hash
        if known is not None and known.status == child.status:
            return False
        self._numbers.setdefault(child.run_id, len(self._numbers))
        self._runs[child.run_id] = child
        if child.status == RUNNING:
            self._running.add(child.run_id)
        else:
            self._running.discard(child.run_id)
            self._ended_lately[child.run_id] = child.started_ms
        latest = self._latest.get(key)
        if latest is None or known is None or latest.run_id == child.run_id:
            if latest is not None:
                self._statuses[latest.status] -= 1
            self._latest[key] = child
            self._statuses[child.status] += 1
        if child.status in SETTLED:
            self._settled[key] = child
        return True

    def _forget(self, run_id: str) -> None:
        """Leave out a RUNNING run that is in the store no more."""
        child = self._runs.pop(run_id)
        self._running.discard(run_id)
        if self._latest[child.config_hash].run_id == run_id:
            del self._latest[child.config_hash]
            self._statuses[child.status] -= 1


def _listed(run_ids: Iterable[str]) -> str:
    """List ids as a filter of MLflow does."""
    return ", ".join(f"'{run_id}'" for run_id in run_ids)
