"""Find the tracking store, and turn what it raises into one line."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.console.command_line import python
from pipeline.errors import PipelineError, redacted

SQLITE = "sqlite:///"  # begins the address of a store in a file
DEFAULT_TRACKING_URI = f"{SQLITE}mlruns/mlflow.db"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
# As the person has set it: MLflow 3.17 writes to the variable when it is told where the store is.
URI_AT_START = os.environ.get(URI_VARIABLE)
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
    if not Path(DEFAULT_TRACKING_URI.removeprefix(SQLITE)).is_file():
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
    return python(*arguments, **({} if uri == known else {URI_VARIABLE: redacted(uri)}))


@contextlib.contextmanager
def store_errors(uri: str = "") -> Iterator[None]:
    """Turn what a full disk, a read-only folder or a lost server raises into one line.

    Args:
        uri: address of the store; empty takes the one that MLflow is set to.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OSError, SQLAlchemyError, MlflowException) as error:
        where = uri or mlflow.get_tracking_uri()
        reason = str(error).splitlines()[0]
        raise PipelineError(
            redacted(f"the tracking store {where} cannot be used: {reason}")
        ) from error
