"""The tracking store: its address, the names that runs and models have in it, and one line for what it raises."""

import contextlib
import os
from collections.abc import Iterator, Sequence
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
HASH_TAG = "config.hash"
MAJOR_TAG = "pipeline.major"
FAILURE_TAG = "failure"  # one line: why a run is FAILED or KILLED
PRUNED_TAG = "pruned"  # one line: why the pruner stopped it
PARENT_TAG = "mlflow.parentRunId"
SWEEP_TAG = "sweep.key"  # of parent runs only
TAG_LENGTH = 5000  # MLflow's limit
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
        raise PipelineError(
            redacted(f"the tracking store {where} cannot be used: {reason}")
        ) from error


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


def status_of(run: "Run") -> str:
    """Return a run's status as MLflow has it, or PRUNED."""
    return "PRUNED" if PRUNED_TAG in run.data.tags else str(run.info.status)


def reason_of(run: "Run") -> str:
    """Return why a run did not finish; empty if it did, or does still."""
    tags = run.data.tags
    return str(tags.get(PRUNED_TAG) or tags.get(FAILURE_TAG, ""))


def digests_of(run: "Run") -> dict[str, str]:
    """Return the digests of the splits that a run was given, by MLflow's contexts: training, validation, testing."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return {
        tag.value: item.dataset.digest
        for item in inputs
        for tag in item.tags
        if tag.key == "mlflow.data.context"
    }


def model_label(name_or_path: str, num_hidden_layers: int | None) -> str:
    """Name an encoder and how many of its layers are kept: assets/minilm with 2 is minilm-2L."""
    layers = f"-{num_hidden_layers}L" if num_hidden_layers else ""
    return f"{Path(name_or_path).name}{layers}"


def search_all(
    client: "MlflowClient", experiments: Sequence[str], wanted: str, order_by: Sequence[str] = ()
) -> "list[Run]":
    """Read every run that a filter of MLflow finds, page by page.

    Args:
        client: of the store.
        experiments: ids.
        wanted: the filter; empty finds all.
        order_by: as MLflow takes it.
    """
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            list(experiments), wanted, order_by=list(order_by), page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found


def children_of(client: "MlflowClient", parent: "Run", narrowed: str = "") -> "list[Run]":
    """Read the runs of a sweep's jobs, the oldest first; narrowed is a filter of MLflow on top."""
    wanted = f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'"
    wanted = f"{wanted} and {narrowed}" if narrowed else wanted
    return search_all(client, [parent.info.experiment_id], wanted, ["attributes.start_time ASC"])


def find_sweep(client: "MlflowClient", reference: str) -> "Run":
    """Read the run of a sweep.

    Args:
        client: of the store.
        reference: its id, or latest.

    Raises:
        PipelineError: there is none.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    newest = ["attributes.start_time DESC"]
    sweeps = client.search_runs(
        experiments, f"tags.`{SWEEP_TAG}` LIKE '%'", order_by=newest, max_results=1000
    )
    if not sweeps:
        raise PipelineError("there is no sweep yet; python -m pipeline -m KEY=A,B makes one.")
    if reference == "latest":
        return sweeps[0]
    for sweep in sweeps:
        if reference in (sweep.info.run_id, sweep.info.run_name):
            return sweep
    known = ", ".join(f"{sweep.info.run_id} ({sweep.info.run_name})" for sweep in sweeps[:3])
    raise PipelineError(f"--sweep {reference} is no sweep; the newest are: {known}.")
