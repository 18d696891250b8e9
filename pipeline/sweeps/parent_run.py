"""The run of a sweep in MLflow, and the runs of its jobs nested under it."""

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from pipeline.config.schema import TrackingConfig
from pipeline.errors import PipelineError, reason_line
from pipeline.redaction import redacted
from pipeline.tracking.connection import mark_dead, next_step, open_experiment, ui_address
from pipeline.tracking.liveness import HEARTBEAT_SECONDS, heartbeat, is_dead, process_tags
from pipeline.tracking.outbox import STORE_ERRORS
from pipeline.tracking.store import (
    FAILURE_TAG,
    HASH_TAG,
    MAJOR_TAG,
    SWEEP_TAG,
    TAG_LENGTH,
    children_of,
    digests_of,
    reason_of,
    status_of,
    store_errors,
)

PARAM_LENGTH = 6000  # MLflow's limit


@dataclass(frozen=True)
class Plan:
    """What a sweep is going to do.

    Args:
        name: of the parent run.
        command: what was typed.
        space: the swept keys and what they take.
        objectives: figures, the most important first.
        identity: everything by which the same sweep is known again, as JSON.
    """

    name: str
    command: str
    space: Mapping[str, str]
    objectives: Sequence[str]
    identity: str

    @property
    def key(self) -> str:
        """16 hex digits that are equal for the same sweep."""
        return hashlib.sha256(self.identity.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Child:
    """A job's run as it is in the store.

    Args:
        run_id, name: of the run.
        status: FINISHED, FAILED, KILLED or RUNNING as in MLflow, or PRUNED.
        reason: why it did not finish; empty if it did.
        config_hash, major_version: of its experiment.
        digests: of the three splits it was given, by split.
        metrics: last values by name.
        started, ended: ms since 1970; ended is 0 while it runs.
    """

    run_id: str
    name: str
    status: str
    reason: str
    config_hash: str
    major_version: str
    digests: Mapping[str, str]
    metrics: Mapping[str, float]
    started: int
    ended: int


class Parent:
    """The open run of a sweep.

    Args:
        client: of the tracking store.
        experiment_id: where it lies.
        run_id: the run.
        tracking: of the store.
    """

    def __init__(
        self, client: MlflowClient, experiment_id: str, run_id: str, tracking: TrackingConfig
    ) -> None:
        self.run_id = run_id
        self.next_step = next_step(tracking.tracking_uri, experiment_id, run_id)
        self.ui = ui_address(tracking.tracking_uri)
        self._client = client
        self._experiment_id = experiment_id
        self._beaten = time.monotonic()

    def children(self) -> list[Child]:
        """Read the jobs' runs, the oldest first."""
        return [_child(run) for run in self.child_runs()]

    def child_runs(self) -> list[Run]:
        """Read the jobs' runs as MLflow has them, the oldest first."""
        with store_errors():
            return children_of(self._client, self._client.get_run(self.run_id))

    def mark_dead(self) -> None:
        """Set jobs that are RUNNING without a living process to FAILED."""
        with store_errors():
            mark_dead(self._client, self._experiment_id)

    def beat(self) -> None:
        """Renew the heartbeat, if it is time."""
        if time.monotonic() - self._beaten > HEARTBEAT_SECONDS:
            with store_errors():
                self._client.log_batch(
                    self.run_id, tags=[RunTag(name, value) for name, value in heartbeat().items()]
                )
            self._beaten = time.monotonic()

    def log_progress(
        self, counts: Mapping[str, int], best: Child | None, objectives: Sequence[str]
    ) -> None:
        """Write how many jobs came to which end, and which run is the best so far.

        Args:
            counts: by status.
            best: None as long as nothing is FINISHED.
            objectives: figures of the best run that are shown.
        """
        figures = {f"jobs/{status}": float(count) for status, count in counts.items()}
        tags = heartbeat()
        if best is not None:
            figures |= {
                f"best/{name}": best.metrics[name] for name in objectives if name in best.metrics
            }
            tags |= {"best_run_id": best.run_id, "best_run": best.name}
        with store_errors():
            self._client.log_batch(
                self.run_id,
                metrics=[
                    Metric(name, value, int(time.time() * 1000), 0)
                    for name, value in figures.items()
                ],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )

    def log_files(self, folder: Path) -> None:
        """Store the files of a folder as artifacts."""
        with store_errors():
            self._client.log_artifacts(self.run_id, str(folder))


@contextlib.contextmanager
def open_parent(plan: Plan, tracking: TrackingConfig, *, fresh: bool) -> Iterator[Parent]:
    """Open the sweep's run, or open again the one that the same sweep had before, and close it with its true status.

    FINISHED if the block ends, KILLED on KeyboardInterrupt, FAILED on any other exception.

    Args:
        plan: of the sweep.
        tracking: of the store.
        fresh: never open an earlier run again.

    Yields:
        The open run.

    Raises:
        PipelineError: the store cannot be used, or the same sweep is running already.
    """
    client, experiment_id = open_experiment(tracking)
    place = hashlib.sha256(tracking.tracking_uri.encode()).hexdigest()[:8]
    lock = FileLock(Path(tempfile.gettempdir()) / f"int8-sweep-{place}-{plan.key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise PipelineError(
            "this sweep is running already on this machine; wait for it, or stop it first."
        ) from error
    try:
        with store_errors():
            run_id = (None if fresh else _earlier(client, experiment_id, plan.key)) or _create(
                client, experiment_id, plan
            )
            client.update_run(run_id, status="RUNNING")
            _forget(client, run_id, FAILURE_TAG)
            client.log_batch(
                run_id, tags=[RunTag(name, value) for name, value in process_tags().items()]
            )
        try:
            yield Parent(client, experiment_id, run_id, tracking)
        except BaseException as error:
            _close_early(client, run_id, error)
            raise
        with store_errors():
            client.set_terminated(run_id, "FINISHED")
    finally:
        lock.release()


def _close_early(client: MlflowClient, run_id: str, error: BaseException) -> None:
    with contextlib.suppress(*STORE_ERRORS):
        client.set_tag(run_id, FAILURE_TAG, redacted(reason_line(error))[:TAG_LENGTH])
        client.set_terminated(
            run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        )
        mark_dead(client, client.get_run(run_id).info.experiment_id)


def _earlier(client: MlflowClient, experiment_id: str, key: str) -> str | None:
    found = client.search_runs(
        [experiment_id],
        f"tags.`{SWEEP_TAG}` = '{key}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not found:
        return None
    run = found[0]
    if run.info.status == "RUNNING" and not is_dead(run.data.tags):
        raise PipelineError(
            f"this sweep is running already as {run.info.run_id}; wait for it, or use sweep.fresh=true."
        )
    return str(run.info.run_id)


def _create(client: MlflowClient, experiment_id: str, plan: Plan) -> str:
    swept = "\n".join(f"- `{key}`: `{values}`" for key, values in plan.space.items())
    tags = {
        SWEEP_TAG: plan.key,
        "mlflow.note.content": redacted(
            f"`{plan.command}`\n\n{swept}\n\nObjective: {', '.join(plan.objectives)}."
        ),
    }
    run = client.create_run(experiment_id, tags=tags, run_name=plan.name)
    params = {"sweep.command": plan.command, "objective": ", ".join(plan.objectives)}
    params |= {f"space.{key}": values for key, values in plan.space.items()}
    client.log_batch(
        run.info.run_id,
        params=[Param(name, redacted(value)[:PARAM_LENGTH]) for name, value in params.items()],
    )
    return str(run.info.run_id)


def _forget(client: MlflowClient, run_id: str, tag: str) -> None:
    if tag in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, tag)


def _child(run: Run) -> Child:
    tags = run.data.tags
    return Child(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=status_of(run),
        reason=reason_of(run),
        config_hash=tags.get(HASH_TAG, ""),
        major_version=tags.get(MAJOR_TAG, ""),
        digests=digests_of(run),
        metrics=run.data.metrics,
        started=run.info.start_time,
        ended=run.info.end_time or 0,
    )
