"""Read how the other jobs of a sweep learn, by which a pruner judges a job."""

import time
from collections.abc import Sequence
from functools import lru_cache

from mlflow.tracking import MlflowClient

from pipeline.names import RUNNING, VALIDATION_ACCURACY
from pipeline.tracking.lookup import NEWEST_FIRST, of_parent

MOST_JOBS = 100  # of one status; the newest of thousands say as much as all of them
CLOCKS_DIFFER_MS = 60_000  # at most, of the machines that jobs run on
KEPT_CURVES = 1000  # of jobs that have ended, in a process that runs several jobs

Curve = dict[int, float]
"""Validation accuracy by step."""


class Siblings:
    """The other jobs of a sweep, read from the store when a job asks for them.

    What has ended is read once, so that a further point of the job's curve costs a few requests,
    however many jobs there are.

    Args:
        client: MLflow client of the tracking store.
        experiment_id: id of the experiment.
        parent_id: id of the sweep's run.
        run_id: id of the run of this job, which is left out.
    """

    def __init__(
        self, client: MlflowClient, experiment_id: str, parent_id: str, run_id: str
    ) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._parent_id = parent_id
        self._run_id = run_id
        self._ended: dict[str, dict[str, Curve]] = {}
        self._read_ms: dict[str, int] = {}

    def curves(self, statuses: Sequence[str]) -> list[Curve]:
        """Read the validation curves of the newest jobs.

        Args:
            statuses: statuses in MLflow that the jobs may have.

        Raises:
            MlflowException, SQLAlchemyError, OSError: the store does not answer.
        """
        return [curve for status in statuses for curve in self._of(status)]

    def _of(self, status: str) -> list[Curve]:
        if status == RUNNING:
            return [self._curve(run_id) for run_id in self._search(status)]
        now_ms = int(time.time() * 1000)
        since_ms = self._read_ms.get(status, CLOCKS_DIFFER_MS) - CLOCKS_DIFFER_MS
        ended = self._ended.setdefault(status, {})
        for run_id in self._search(status, f" and attributes.end_time >= {since_ms}"):
            if run_id not in ended:
                ended[run_id] = _curve_of_ended(self._client.tracking_uri, run_id)
        self._read_ms[status] = now_ms
        return list(ended.values())

    def _search(self, status: str, further: str = "") -> list[str]:
        """Return the ids of the newest jobs of a status."""
        found = self._client.search_runs(
            [self._experiment_id],
            f"{of_parent(self._parent_id)} and attributes.status = '{status}'{further}",
            order_by=list(NEWEST_FIRST),
            max_results=MOST_JOBS,
        )
        return [run.info.run_id for run in found if run.info.run_id != self._run_id]

    def _curve(self, run_id: str) -> Curve:
        history = self._client.get_metric_history(run_id, VALIDATION_ACCURACY)
        return {point.step: point.value for point in history}


@lru_cache(maxsize=KEPT_CURVES)
def _curve_of_ended(uri: str, run_id: str) -> Curve:
    """Read the curve of a job that has ended; it stays as it is."""
    history = MlflowClient(uri).get_metric_history(run_id, VALIDATION_ACCURACY)
    return {point.step: point.value for point in history}
