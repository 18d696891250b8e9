"""The tracking store: its address, the names that runs and models have in it, and one line for what it raises."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError
from pipeline.redaction import redacted

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

DEFAULT_TRACKING_URI = "sqlite:///mlruns/mlflow.db"
REGISTERED_NAME = "int8-text-classifier"
ALIAS = "champion"
CHAMPION = f"models:/{REGISTERED_NAME}@{ALIAS}"
MODEL_NAME = "model"  # of the MLflow model of a run
SHIPPED_TAG = "shipped"
SWEEP_TAG = "sweep"
NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"  # MlflowException.error_code of a run, model or version that is not there


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the store that runs use by default.

    Raises:
        PipelineError: the default store does not exist.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return uri
    if not Path(DEFAULT_TRACKING_URI.removeprefix("sqlite:///")).is_file():
        raise PipelineError(
            f"{DEFAULT_TRACKING_URI} does not exist yet; make quickstart makes a run, or set MLFLOW_TRACKING_URI."
        )
    return DEFAULT_TRACKING_URI


@contextlib.contextmanager
def store_errors(uri: str = "") -> Iterator[None]:
    """Turn what a full disk, a read-only folder or a lost server raises into one line.

    Args:
        uri: of the store; the one that MLflow is set to if it is not given.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OSError, SQLAlchemyError, MlflowException) as error:
        where = uri or mlflow.get_tracking_uri()
        reason = str(error).splitlines()[0]
        raise PipelineError(redacted(f"the tracking store {where} cannot be used: {reason}")) from error


def find_run(client: "MlflowClient", run_id: str) -> "Run":
    """Read a run.

    Args:
        client: of the store.
        run_id: 32 hex digits.

    Raises:
        PipelineError: there is no such run.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != NOT_FOUND:
            raise
        raise PipelineError(f"run {run_id} is not in {redacted(client.tracking_uri)}.") from error
