"""Send a run's metrics to the tracking store from a thread, again until the store takes them."""

import logging
import threading
import time
from collections.abc import Sequence

from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import reason_line
from pipeline.tracking.liveness import HEARTBEAT_SECONDS, heartbeat

# Curves are sent in batches: one metric costs 3 ms on SQLite, a thousand at once 70 ms.
BATCH = 500
FLUSH_SECONDS = 10.0
PATIENCE_SECONDS = 600.0
RETRY_SECONDS = 2.0
STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)
CLIENT_ERRORS = range(400, 500)  # HTTP statuses that say the request itself is wrong,
WORTH_ANOTHER_TRY = (401, 403, 408, 429)  # but for these: credentials, time and load change
log = logging.getLogger(__name__)


class Outbox:
    """Queue the metrics of one run, so that training neither waits for the store nor sees it fail.

    The thread also renews the run's heartbeat (see pipeline.tracking.liveness).

    Args:
        client: MLflow client of the tracking store.
        run_id: id of the run.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._waiting: list[Metric] = []
        self._changed = threading.Condition()
        self._flushing = False
        self._closed = False
        self._error: Exception | None = None
        self._refusal: Exception | None = None
        self._thread = threading.Thread(target=self._work, name=f"outbox-{run_id[:8]}", daemon=True)
        self._thread.start()

    def put(self, metrics: Sequence[Metric]) -> None:
        """Queue metrics; they are sent after FLUSH_SECONDS, or once BATCH of them are waiting.

        Raises:
            MlflowException, SQLAlchemyError, OSError: the store refused earlier ones for good.
        """
        with self._changed:
            self._raise_refusal()
            self._waiting += metrics
            if len(self._waiting) >= BATCH:
                self._changed.notify_all()

    def flush(self, patience_s: float = PATIENCE_SECONDS) -> None:
        """Wait until everything is sent.

        Args:
            patience_s: seconds to wait for a store that does not answer.

        Raises:
            MlflowException, SQLAlchemyError, OSError: the store's last error, when patience ends,
                or at once if it says that the metrics themselves are wrong.
        """
        deadline = time.monotonic() + patience_s
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            while self._waiting:
                self._raise_refusal()
                left = deadline - time.monotonic()
                if not self._changed.wait(timeout=max(0.0, left)) and time.monotonic() >= deadline:
                    raise self._error or MlflowException(
                        f"{len(self._waiting)} metrics were not taken in {patience_s:.0f} s"
                    )
            self._flushing = False

    def close(self) -> None:
        """End the thread; what is still waiting is dropped, so flush before."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        last_heartbeat = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work, timeout=FLUSH_SECONDS)
                if self._closed:
                    return
                batch = self._waiting[:BATCH]
            is_due = time.monotonic() - last_heartbeat > HEARTBEAT_SECONDS
            tags = [RunTag(name, value) for name, value in heartbeat().items()] if is_due else []
            try:
                if batch or tags:
                    self._client.log_batch(self._run_id, metrics=batch, tags=tags)
            except Exception as error:  # whatever it is, the thread goes on or says why it ends
                if _is_refusal(error):
                    self._give_up(error)
                    return
                self._wait_after(error)
                continue
            if tags:
                last_heartbeat = time.monotonic()
            self._mark_sent(len(batch))

    def _has_work(self) -> bool:
        full = len(self._waiting) >= BATCH
        return self._closed or full or (self._flushing and bool(self._waiting))

    def _mark_sent(self, count: int) -> None:
        with self._changed:
            if self._error is not None:
                log.warning("the tracking store answers again")
                self._error = None
            del self._waiting[:count]
            self._changed.notify_all()

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            is_known = isinstance(error, STORE_ERRORS)
            self._refusal = error if is_known else MlflowException(reason_line(error))
            self._changed.notify_all()

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _wait_after(self, error: Exception) -> None:
        if self._error is None:
            log.warning(
                "the tracking store does not answer; metrics are kept meanwhile and sent later"
            )
        with self._changed:
            self._error = error
            self._changed.wait_for(lambda: self._closed, timeout=RETRY_SECONDS)


def _is_refusal(error: Exception) -> bool:
    """Tell whether it is in vain to send the same again."""
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()  # type: ignore[no-untyped-call]
        return status in CLIENT_ERRORS and status not in WORTH_ANOTHER_TRY
    return not isinstance(error, STORE_ERRORS)
