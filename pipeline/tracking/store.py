"""Find the tracking store, and turn what it raises into one line."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.config.paths import is_file
from pipeline.console.command_line import python
from pipeline.errors import PipelineError, redacted

SQLITE = "sqlite:///"  # begins the address of a store in a file
DEFAULT_TRACKING_URI = f"{SQLITE}mlruns/mlflow.db"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
SERVED_VARIABLE = "MLFLOW_BACKEND_STORE_URI"  # where a server has the address of its own store
# As the person has set it: MLflow 3.17 writes to the variable when it is told where the store is.
URI_AT_START = os.environ.get(URI_VARIABLE)
SERVER_EXTRA = "the extra `server` has what PostgreSQL and S3 need: pip install -e '.[server]'"
# What an HTTP status says of the user whom a server was told.
REFUSALS: Mapping[int | None, str] = {
    401: "it does not know this user and password, which are in the address "
    "(http://USER:PASSWORD@HOST), or in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    403: "its user may not do this; who manages the server can grant it (EDIT)",
}
TAG_LENGTH = 5000  # MLflow's limit
NOT_FOUND = (
    "RESOURCE_DOES_NOT_EXIST"  # MlflowException.error_code for a missing run, model or version
)


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the store that runs use by default.

    Raises:
        PipelineError: the default store does not exist.
    """
    uri = os.environ.get(URI_VARIABLE)
    if uri:
        return uri
    if not is_file(DEFAULT_TRACKING_URI.removeprefix(SQLITE)):
        raise PipelineError(
            f"{DEFAULT_TRACKING_URI} does not exist yet; a run makes it (make quickstart), "
            f"or set {URI_VARIABLE}."
        )
    return DEFAULT_TRACKING_URI


def command(uri: str, *arguments: str) -> str:
    """Write a command of this project that works on a store, as it stands.

    Args:
        uri: address of the store.
        arguments: what follows `python`.
    """
    # A variable that was set for one command alone is set again, unless it holds a secret.
    known = DEFAULT_TRACKING_URI if uri == redacted(uri) else URI_AT_START
    is_found = uri == known and not names_another_store(uri)
    return python(*arguments, **({} if is_found else {URI_VARIABLE: redacted(uri)}))


def names_another_store(uri: str) -> bool:
    """Tell whether commands that read MLFLOW_TRACKING_URI would not read a store.

    Args:
        uri: address of the store.
    """
    return _absolute(URI_AT_START or uri) != _absolute(uri)


def _absolute(uri: str) -> str:
    """Write a SQLite store with its whole path, as MLflow (3.17) hands it to its processes."""
    if not uri.startswith(SQLITE):
        return uri
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"


def is_of_s3(error: BaseException) -> bool:
    """Tell whether an error is one of S3's client, which is imported where it is used alone."""
    return type(error).__module__.partition(".")[0] in ("boto3", "botocore")


def is_server(uri: str) -> bool:
    """Tell whether a store is a tracking server, and no database."""
    return uri.startswith(("http://", "https://"))


@contextlib.contextmanager
def store_errors(uri: str = "") -> Iterator[None]:
    """Turn what a full disk, a read-only folder or a lost server raises into one line.

    Args:
        uri: address of the store; empty takes the one that MLflow is set to.

    Raises:
        PipelineError: the store cannot be used.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except Exception as error:
        known = (OSError, SQLAlchemyError, MlflowException, ModuleNotFoundError)
        if not isinstance(error, known) and not is_of_s3(error):
            raise
        where = uri or mlflow.get_tracking_uri()
        raise PipelineError(
            redacted(f"the tracking store {where} cannot be used: {_reason(error)}")
        ) from error


def _reason(error: Exception) -> str:
    """Say in one line why a store cannot be used, and what would change that."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; {SERVER_EXTRA}"
    first = str(error).partition("\n")[0] or type(error).__name__
    return REFUSALS.get(_status(error), first)


def _status(error: Exception) -> int | None:
    """Return the HTTP status that an error of a server came with."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    # Of requests.HTTPError, as of an upload; S3's client has a dict there.
    return getattr(getattr(error, "response", None), "status_code", None)
