"""Open the run of a sweep in MLflow, under which the runs of its jobs are nested."""

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from pipeline.config.schema import KEEP_ALL, TrackingConfig
from pipeline.console import interrupt
from pipeline.errors import PipelineError, reason_line, redacted
from pipeline.names import (
    BEST,
    BEST_RUN_ID_TAG,
    BEST_RUN_TAG,
    DESCRIPTION_TAG,
    FAILED,
    FAILURE_TAG,
    JOBS,
    KEPT_TAG,
    KILLED,
    OBJECTIVE_PARAM,
    RUNNING,
    SWEEP_TAG,
    figure_of,
)
from pipeline.sweeps.children import Children, ChildRun, Place
from pipeline.sweeps.plan import Plan
from pipeline.tracking import views
from pipeline.tracking.connection import Connection, open_experiment, ui_address
from pipeline.tracking.ending import finish
from pipeline.tracking.keeping import EndedRun, surplus_of
from pipeline.tracking.liveness import HEARTBEAT_SECONDS, heartbeat, is_dead, process_tags
from pipeline.tracking.lookup import NEWEST_FIRST, OLDEST_FIRST, of_parent, search_all
from pipeline.tracking.patience import PATIENCE_SECONDS, STORE_ERRORS, Patience, last_seconds
from pipeline.tracking.store import NOT_FOUND, SQLITE, TAG_LENGTH, command, store_errors

PARAM_LENGTH = 6000  # MLflow's limit
NOT_IN_A_NAME = re.compile(r"[^\w./: -]")  # what MLflow refuses in the name of a parameter
LOCKS = ".locks"  # folder beside a SQLite store


class ParentRun:
    """The open run of a sweep, which waits for a store that is away for a while.

    Args:
        connection: open experiment that the run is in.
        run_id: id of the run.
        plan: plan of the sweep.
        patience: what the run sends with.
        keep: tracking.keep.
    """

    def __init__(
        self, connection: Connection, run_id: str, plan: Plan, patience: Patience, keep: str
    ) -> None:
        self.run_id = run_id
        place = Place(connection.client, connection.experiment_id, run_id)
        self.children = Children(place, plan.objectives, patience.send)
        self._keep = keep
        self._surplus: deque[ChildRun] = deque()  # whose models need not stay
        self._told = False  # that models cannot be removed
        self._send = patience.send
        self.next_step = connection.next_step(views.runs_place(connection.experiment_id, run_id))
        self.ui = ui_address(connection.uri)
        self.compare = command(
            connection.uri, "-m", "pipeline.compare", "--sweep", run_id, "--format", "html"
        )
        self._connection = connection
        self._client = connection.client
        self._last_heartbeat = time.monotonic()

    def mlflow_runs(self) -> list[Run]:
        """Read the jobs' runs as MLflow returns them, the oldest first."""
        experiment_ids = [self._connection.experiment_id]
        search = partial(
            search_all, self._client, experiment_ids, of_parent(self.run_id), OLDEST_FIRST
        )
        with store_errors():
            return self._send(search)

    def mark_dead(self) -> None:
        """Set jobs that are RUNNING without a living process to FAILED."""
        with store_errors():
            self._send(self._connection.mark_dead)

    def has_ended(self, run_id: str) -> bool:
        """Tell whether another sweep has ended, or its process; one in another store has not.

        Args:
            run_id: id of that sweep's run.
        """
        with store_errors():
            try:
                run = self._send(partial(self._client.get_run, run_id))
            except MlflowException as error:
                if error.error_code != NOT_FOUND:
                    raise
                return False
        return run.info.status != RUNNING or is_dead(run.data.tags)

    def renew_heartbeat(self) -> None:
        """Renew the run's heartbeat, if the last one is old enough and the store answers."""
        if time.monotonic() - self._last_heartbeat > HEARTBEAT_SECONDS:
            with store_errors():
                tags = _run_tags(heartbeat())
                self._send(partial(self._client.log_batch, self.run_id, tags=tags), 0.0)
            self._last_heartbeat = time.monotonic()

    def log_progress(
        self,
        counts: Mapping[str, int],
        best: ChildRun | None,
        objectives: Sequence[str],
        patience_s: float = PATIENCE_SECONDS,
    ) -> None:
        """Log how many jobs ended in which way, and which run is the best so far.

        Args:
            counts: number of jobs by how they ended.
            best: best finished run; None as long as no run is FINISHED.
            objectives: names of the best run's figures to log.
            patience_s: seconds to wait for a store that does not answer.
        """
        figures = {figure_of(JOBS, ending): float(count) for ending, count in counts.items()}
        tags = heartbeat()
        if best is not None:
            figures |= {
                figure_of(BEST, name): best.metrics[name]
                for name in objectives
                if name in best.metrics
            }
            tags |= {BEST_RUN_ID_TAG: best.run_id, BEST_RUN_TAG: best.name}
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in figures.items()]
        log = partial(self._client.log_batch, self.run_id, metrics=metrics, tags=_run_tags(tags))
        with store_errors():
            self._send(log, patience_s)

    def discard_models(self, children: Sequence[ChildRun]) -> str:
        """Remove models of finished jobs, as tracking.keep says; a store may be unable to.

        Args:
            children: jobs that are worse than the best since the last call.

        Returns:
            A line that says why nothing is removed, the first time that it fails; else empty.
        """
        if self._keep == KEEP_ALL:
            return ""
        self._surplus += [each for each in children if KEPT_TAG not in each.tags]
        while self._surplus:
            try:
                self._discard_models_of(self._surplus[0])
            # Of what MLflow 3.17's stores raise, NotImplementedError is one; a sweep goes on.
            except Exception as error:
                self._surplus.rotate(-1)  # the others come first when it is tried again
                told, self._told = self._told, True
                return "" if told else f"models of jobs cannot be removed: {reason_line(error)}"
            self._surplus.popleft()
        return ""

    def _discard_models_of(self, child: ChildRun) -> None:
        run = EndedRun(child.run_id, child.name, child.status, child.tags, child.artifact_uri)
        if (surplus := surplus_of(self._client, run, self._keep)) is not None:
            surplus.discard(self._client)

    def log_files(self, folder: Path) -> None:
        """Store the files of a folder as artifacts of the run."""
        with store_errors():
            self._send(partial(self._client.log_artifacts, self.run_id, str(folder)))


@contextlib.contextmanager
def open_parent_run(plan: Plan, tracking: TrackingConfig, *, fresh: bool) -> Iterator[ParentRun]:
    """Open the sweep's run, and close it with its true status.

    The run that the same sweep had before is opened again. It is FINISHED if the block ends, KILLED
    on KeyboardInterrupt, and FAILED on any other exception.

    Args:
        plan: plan of the sweep.
        tracking: the tracking group.
        fresh: whether to make a new run although the sweep had one before.

    Yields:
        The open run.

    Raises:
        PipelineError: the store cannot be used, or the same sweep is running already.
    """
    connection = open_experiment(tracking)
    # A start that makes a run of its own is no second start of anything.
    with contextlib.nullcontext() if fresh else _locked(plan, tracking.tracking_uri):
        patience = Patience()
        with store_errors():
            earlier_id = None if fresh else _earlier_run_id(connection, plan)
            run_id = earlier_id or _create(connection, plan, patience)
        try:
            with interrupt.before_errors():
                with store_errors():
                    _mark_running(connection, run_id)
                    view = views.jobs_view(run_id, plan.objectives[0])
                    connection.client.set_experiment_tag(connection.experiment_id, *view)
                yield ParentRun(connection, run_id, plan, patience, tracking.keep)
                with store_errors():
                    patience.send(partial(finish, connection.client, run_id))
        except BaseException as error:
            _close_early(connection, run_id, patience, error)
            raise


@contextlib.contextmanager
def _locked(plan: Plan, uri: str) -> Iterator[None]:
    """Keep the same sweep from running twice at once on this machine, in the same store."""
    lock = FileLock(_lock_file(plan, uri))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise PipelineError(
            "this sweep is running already on this machine; wait for it, or use sweep.fresh=true."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _lock_file(plan: Plan, uri: str) -> Path:
    """Lie beside a SQLite store, or else in the temporary folder, with a name for each user."""
    if uri.startswith(SQLITE):
        folder = Path(uri.removeprefix(SQLITE)).absolute().parent / LOCKS
        folder.mkdir(exist_ok=True)
        return folder / f"{plan.key}.lock"
    store = hashlib.sha256(uri.encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"int8-sweep-{os.getuid()}-{store}-{plan.key}.lock"


def _earlier_run_id(connection: Connection, plan: Plan) -> str | None:
    """Find the newest run of the same sweep; refuse one that is still running elsewhere."""
    runs = connection.client.search_runs(
        [connection.experiment_id],
        f"tags.`{SWEEP_TAG}` = '{plan.key}'",
        order_by=list(NEWEST_FIRST),
        max_results=1,
    )
    if not runs:
        return None
    info = runs[0].info
    if info.status == RUNNING and not is_dead(runs[0].data.tags):
        raise PipelineError(
            f"this sweep is running already as {info.run_id}; wait for it, or use sweep.fresh=true."
        )
    return str(info.run_id)


def _create(connection: Connection, plan: Plan, patience: Patience) -> str:
    """Make the run of a sweep.

    It says from the first moment which process it belongs to: without that, one whose process is
    killed now would be taken for running for ever.
    """
    swept = "\n".join(f"- `{key}`: `{values}`" for key, values in plan.space.items())
    objectives = ", ".join(plan.objectives)
    description = f"`{plan.command}`\n\n{swept}\n\nObjective: {objectives}."
    tags = {SWEEP_TAG: plan.key, DESCRIPTION_TAG: redacted(description), **process_tags()}
    run = connection.client.create_run(connection.experiment_id, tags=tags, run_name=plan.name)
    params = {"sweep.command": plan.command, OBJECTIVE_PARAM: objectives}
    params |= {f"space.{key}": values for key, values in plan.space.items()}
    listed = [
        Param(NOT_IN_A_NAME.sub("_", name), redacted(value)[:PARAM_LENGTH])
        for name, value in params.items()
    ]
    try:
        with interrupt.before_errors():
            connection.client.log_batch(run.info.run_id, params=listed)
    except BaseException as error:
        _close_early(connection, run.info.run_id, patience, error)
        raise
    return str(run.info.run_id)


def _mark_running(connection: Connection, run_id: str) -> None:
    client = connection.client
    client.update_run(run_id, status=RUNNING)
    if FAILURE_TAG in client.get_run(run_id).data.tags:  # of an earlier start
        client.delete_tag(run_id, FAILURE_TAG)
    client.log_batch(run_id, tags=_run_tags(process_tags()))


def _close_early(
    connection: Connection, run_id: str, patience: Patience, error: BaseException
) -> None:
    """Write why the sweep ended, as far as the store takes it in last_seconds()."""
    client = connection.client
    status = KILLED if isinstance(error, KeyboardInterrupt) else FAILED
    reason = redacted(reason_line(error))[:TAG_LENGTH]
    deadline = time.monotonic() + last_seconds(error)
    with contextlib.suppress(*STORE_ERRORS):
        for request in (
            partial(client.set_tag, run_id, FAILURE_TAG, reason),
            partial(client.set_terminated, run_id, status),
            partial(connection.mark_dead, run_id if status == KILLED else None),
        ):
            patience.send(request, deadline - time.monotonic())


def _run_tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]
