"""End a run with its true status."""

import contextlib
import time
from functools import partial

import mlflow
from mlflow.tracking import MlflowClient

from pipeline.errors import JobPrunedError, reason_line, redacted
from pipeline.names import FAILED, FAILURE_TAG, FINISHED, KILLED, PRUNED_TAG
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.patience import STORE_ERRORS, Patience, last_seconds
from pipeline.tracking.store import TAG_LENGTH


def finish(client: MlflowClient, run_id: str) -> None:
    """Set a run to FINISHED, also if another machine took it for dead while it was silent.

    Args:
        client: MLflow client of the tracking store.
        run_id: id of the run.

    Raises:
        MlflowException, SQLAlchemyError, OSError: the store does not answer.
    """
    if FAILURE_TAG in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, FAILURE_TAG)
    _set_ended(client, run_id, FINISHED)


def close_early(
    client: MlflowClient, run_id: str, outbox: Outbox, patience: Patience, error: BaseException
) -> None:
    """Write how a run ended and why, as far as the store takes it in last_seconds().

    The status comes before the metrics that still wait: a second Ctrl-C ends at once.

    Args:
        client: MLflow client of the tracking store.
        run_id: id of the run.
        outbox: queue of the run's metrics.
        patience: what the run sends with.
        error: what ended it: KILLED on KeyboardInterrupt, and on JobPrunedError
            with the tag `pruned`; FAILED on any other.
    """
    is_pruned = isinstance(error, JobPrunedError)
    status = KILLED if is_pruned or isinstance(error, KeyboardInterrupt) else FAILED
    tag = PRUNED_TAG if is_pruned else FAILURE_TAG
    reason = redacted(reason_line(error))[:TAG_LENGTH]
    deadline = time.monotonic() + last_seconds(error)
    for request in (
        partial(client.set_tag, run_id, tag, reason),
        partial(_set_ended, client, run_id, status),
    ):
        with contextlib.suppress(*STORE_ERRORS):
            patience.send(request, deadline - time.monotonic())
    with contextlib.suppress(*STORE_ERRORS):
        outbox.flush(deadline - time.monotonic())


def _set_ended(client: MlflowClient, run_id: str, status: str) -> None:
    if mlflow.active_run() is not None:
        mlflow.end_run(status)  # is no longer active from here on, even if the store is away
    else:
        client.set_terminated(run_id, status)
