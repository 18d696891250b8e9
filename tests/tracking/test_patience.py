import errno
import sqlite3
import time
from collections.abc import Callable

import pytest
import requests
import sqlalchemy.exc
from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INVALID_PARAMETER_VALUE,
    PERMISSION_DENIED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    UNAUTHENTICATED,
)

from pipeline.errors import PipelineError
from pipeline.tracking.patience import Patience, is_refusal, last_seconds


@pytest.fixture
def patience() -> Patience:
    return Patience(retry_s=0.01)


def failing(errors: list[Exception]) -> Callable[[], str]:
    """A request that raises what is left of the errors, and then is taken."""

    def request() -> str:
        if errors:
            raise errors.pop(0)
        return "taken"

    return request


def http_error(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("no", response=response)


def s3_error(status: int) -> Boto3Error:
    """What boto3 raises for an upload that S3 answers so."""
    try:
        raise ClientError({"ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")
    except ClientError:
        try:
            raise S3UploadFailedError("no")
        except S3UploadFailedError as error:
            return error


def sqlite_error(name: str) -> MlflowException:
    """What MLflow raises when SQLite says no."""
    original = sqlite3.OperationalError("no")
    original.sqlite_errorname = name
    wrapped = sqlalchemy.exc.OperationalError("INSERT", {}, original)
    error = MlflowException(str(wrapped), TEMPORARILY_UNAVAILABLE)
    error.__cause__ = wrapped
    return error


AWAY = {
    "no route": requests.ConnectionError("refused"),
    "reset": ConnectionResetError(errno.ECONNRESET, "reset"),
    "slow": TimeoutError("timed out"),
    "upload": http_error(503),
    "server": MlflowException("API request failed"),
    "credentials": MlflowException("expired", UNAUTHENTICATED),
    "locked": sqlite_error("SQLITE_BUSY"),
    "a server's database": MlflowException("(psycopg.OperationalError)", TEMPORARILY_UNAVAILABLE),
    "S3": EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
    "S3 with an error": s3_error(503),
    "stale": OSError(errno.ESTALE, "stale file handle"),
}
REFUSED = {
    "bad": MlflowException("bad", INVALID_PARAMETER_VALUE),
    "gone": MlflowException("deleted", RESOURCE_DOES_NOT_EXIST),
    "upload": http_error(413),
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "read-only": OSError(errno.EROFS, "Read-only file system"),
    "permission": PermissionError(errno.EACCES, "Permission denied"),
    "read-only database": sqlite_error("SQLITE_READONLY_DBMOVED"),
    "S3 without credentials": NoCredentialsError(),
    "S3 without a bucket": s3_error(404),
    "S3 with other credentials": s3_error(403),
    "full database": sqlite_error("SQLITE_FULL"),
}


@pytest.mark.parametrize("error", AWAY.values(), ids=AWAY.keys())
def test_a_store_that_is_away_is_asked_until_it_answers_and_said_once(
    patience: Patience, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert patience.send(failing([error] * 5)) == "taken"
    assert patience.send(failing([])) == "taken"
    assert [record.message for record in caplog.records] == [
        "the tracking store does not answer; what the run logs is kept and sent again",
        "the tracking store answers again",
    ]


@pytest.mark.parametrize("error", REFUSED.values(), ids=REFUSED.keys())
def test_a_request_that_is_wrong_is_told_at_once(
    patience: Patience, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [error] * 2
    with pytest.raises(type(error)):
        patience.send(failing(errors))
    assert len(errors) == 1, "it was asked once"
    assert caplog.records == []


def test_patience_ends_with_the_last_error(patience: Patience) -> None:
    started = time.monotonic()
    with pytest.raises(MlflowException, match="away"):
        patience.send(failing([MlflowException("away")] * 1000), seconds=0.1)
    assert time.monotonic() - started < 2
    errors = [MlflowException("away")] * 2
    with pytest.raises(MlflowException, match="away"):
        patience.send(failing(errors), seconds=0)
    assert len(errors) == 1


def test_an_error_that_no_store_raises_is_a_refusal() -> None:
    assert is_refusal(TypeError("no batch"))


def test_a_row_that_two_runs_make_at_once_is_sent_again_silently(
    patience: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    collision = MlflowException("(psycopg.errors.UniqueViolation) dataset_pk", BAD_REQUEST)
    assert patience.send(failing([collision])) == "taken"
    assert caplog.records == []
    assert is_refusal(MlflowException("(psycopg.errors.DataError) too long", BAD_REQUEST))


def test_who_may_not_write_does_not_wait_to_say_so() -> None:
    error = PipelineError("may not")
    error.__cause__ = MlflowException("Permission denied", PERMISSION_DENIED)
    assert last_seconds(error) == 0
    assert last_seconds(PipelineError("away")) > 60
