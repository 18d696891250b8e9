"""Send a run's metrics to the tracking store from a thread, again until the store takes them."""

import logging
import threading
import time
from collections.abc import Sequence

from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.console.markdown import printable
from pipeline.errors import reason_line, redacted
from pipeline.tracking.liveness import HEARTBEAT_SECONDS, heartbeat
from pipeline.tracking.patience import PATIENCE_SECONDS, STORE_ERRORS, Patience, is_refusal

# Curves are sent in batches: one metric costs 3 ms on SQLite, a thousand at once 70 ms.
BATCH = 500
FLUSH_SECONDS = 10.0
log = logging.getLogger(__name__)


class Outbox:
    """Queue the metrics of one run, so that training neither waits for the store nor sees it fail.

    The thread also renews the run's heartbeat (see pipeline.tracking.liveness), whatever becomes of
    the metrics.

    Args:
        client: MLflow client of the tracking store.
        run_id: id of the run.
        patience: what else the run sends with.
    """

    def __init__(self, client: MlflowClient, run_id: str, patience: Patience) -> None:
        self._client = client
        self._run_id = run_id
        self._patience = patience
        self._waiting: list[Metric] = []
        self._changed = threading.Condition()
        self._flushing = False
        self._closed = False
        self._error: Exception | None = None
        self._refusal: Exception | None = None
        self._last_heartbeat = time.monotonic()
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
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work, timeout=FLUSH_SECONDS)
                if self._closed:
                    return
                # What the store has refused is not sent again.
                batch = [] if self._refusal else self._waiting[:BATCH]
            try:
                self._send(batch)
            except Exception as error:  # whatever it is, the heart goes on beating
                self._note(error)

    def _send(self, batch: list[Metric]) -> None:
        is_due = time.monotonic() - self._last_heartbeat > HEARTBEAT_SECONDS
        tags = [RunTag(name, value) for name, value in heartbeat().items()] if is_due else []
        if not (batch or tags):
            return
        self._client.log_batch(self._run_id, metrics=batch, tags=tags)
        self._patience.answered()
        if tags:
            self._last_heartbeat = time.monotonic()
        with self._changed:
            self._error = None
            del self._waiting[: len(batch)]
            self._changed.notify_all()

    def _has_work(self) -> bool:
        full = len(self._waiting) >= BATCH
        wanted = full or (self._flushing and bool(self._waiting))
        return self._closed or (wanted and self._refusal is None)

    def _note(self, error: Exception) -> None:
        """Wait a little for a store that is away, or remember what it refuses."""
        with self._changed:
            if not is_refusal(error):
                self._patience.missed(error)
                self._error = error
            elif self._refusal is None:
                reason = printable(redacted(reason_line(error)))
                log.warning("the tracking store refuses metrics: %s", reason)
                is_known = isinstance(error, STORE_ERRORS)
                self._refusal = error if is_known else MlflowException(reason_line(error))
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed, timeout=self._patience.retry_s)

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            raise self._refusal
