"""Send to the tracking store again while it is away, and tell it from a store that says no."""

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pipeline.tracking.store import is_of_s3

PATIENCE_SECONDS = 600.0
# For what a run that ended early still has to say: whoever interrupts it does not want to wait.
LAST_SECONDS = 150.0
INTERRUPTED_SECONDS = 30.0
RETRY_SECONDS = 2.0
STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)
CLIENT_ERRORS = range(400, 500)  # HTTP statuses that say the request itself is wrong,
WORTH_ANOTHER_TRY = (401, 403, 408, 429)  # but for these: credentials, time and load change
# What a file system says for good, and what SQLite says so.
FINAL_ERRNOS = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)
FINAL_IN_SQLITE = ("SQLITE_CORRUPT", "SQLITE_FULL", "SQLITE_NOTADB", "SQLITE_READONLY")
DENIED = "PERMISSION_DENIED"  # MlflowException.error_code for a user who may not write
# What PostgreSQL, SQLite and MySQL say of a row that is there already.
COLLISIONS = ("UniqueViolation", "UNIQUE constraint failed", "Duplicate entry")
T = TypeVar("T")
log = logging.getLogger(__name__)


class Patience:
    """Repeat what the store of a run does not take.

    All that a run sends shares one, so that the person reads once that the store is away, and once
    that it answers again.

    Args:
        retry_s: seconds between two tries.
    """

    def __init__(self, retry_s: float = RETRY_SECONDS) -> None:
        self.retry_s = retry_s
        self._lock = threading.Lock()
        self._away = False

    def send(self, request: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
        """Make a request until the store takes it.

        Args:
            request: what to ask of the store. It is repeated as a whole, so doing it twice has to
                be as good as doing it once.
            seconds: how long to wait for a store that is away; 0 asks once.

        Returns:
            What the request returns.

        Raises:
            MlflowException, SQLAlchemyError, OSError: the store's last error, when patience ends,
                or at once if the store says that the request itself is wrong.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = request()
            except Exception as error:
                if is_refusal(error) or time.monotonic() >= deadline:
                    raise
                self.missed(error)
                time.sleep(self.retry_s)
            else:
                self.answered()
                return answer

    def missed(self, error: Exception) -> None:
        """Say that the store is away, unless that was said, or another run was only faster.

        Args:
            error: what the request raised.
        """
        if _is_collision(error):
            return
        with self._lock:
            if not self._away:
                log.warning(
                    "the tracking store does not answer; what the run logs is kept and sent again"
                )
            self._away = True

    def answered(self) -> None:
        """Say that the store is back, if it was away."""
        with self._lock:
            if self._away:
                log.warning("the tracking store answers again")
            self._away = False


def last_seconds(error: BaseException) -> float:
    """Return how long the end of a run or sweep waits for a store that is away.

    Args:
        error: what ended it.
    """
    if any(getattr(cause, "error_code", "") == DENIED for cause in _causes(error)):
        return 0.0
    return INTERRUPTED_SECONDS if isinstance(error, KeyboardInterrupt) else LAST_SECONDS


def is_refusal(error: BaseException) -> bool:
    """Tell whether it is in vain to send the same again.

    Args:
        error: what the request raised.
    """
    if _is_collision(error):
        return False
    for cause in _causes(error):
        # MLflow 3.17 answers 400 for a connection that its database has closed.
        if isinstance(cause, DBAPIError) and cause.connection_invalidated:
            return False
        if getattr(cause, "sqlite_errorname", "").startswith(FINAL_IN_SQLITE):
            return True
    if isinstance(error, MlflowException):
        return _is_final_status(error.get_http_status_code())  # type: ignore[no-untyped-call]
    if isinstance(error, OSError):
        response = getattr(error, "response", None)  # of requests.HTTPError, as of an upload
        if response is not None:
            return _is_final_status(response.status_code)
        return error.errno in FINAL_ERRNOS
    if is_of_s3(error):
        return _is_refusal_of_s3(error)
    return not isinstance(error, STORE_ERRORS)


def _is_collision(error: BaseException) -> bool:
    """Tell whether two runs have made the same row at once; the second time, it is found.

    MLflow 3.17 looks for a dataset before it makes one, and answers 400 to who comes second.
    """
    return isinstance(error, MlflowException) and any(sign in str(error) for sign in COLLISIONS)


def _is_refusal_of_s3(error: BaseException) -> bool:
    """Tell an answer of S3, or what its client misses, from a store that is away."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    # boto3 1.44 raises an error of its own for an upload, while it handles the answer.
    for cause in (error, error.__context__):
        if isinstance(cause, ClientError):
            status = cause.response["ResponseMetadata"]["HTTPStatusCode"]
            # Who the process is comes from its environment, which no longer changes.
            return status in (401, 403) or _is_final_status(status)
    return not isinstance(error, ConnectionError | HTTPClientError)


def _is_final_status(status: int) -> bool:
    return status in CLIENT_ERRORS and status not in WORTH_ANOTHER_TRY


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        original = getattr(cause, "orig", None)  # of an SQLAlchemyError: the database's own
        if isinstance(original, sqlite3.Error):
            yield original
        cause = cause.__cause__
