"""The tracking store opened for writing: its server asked, its database made, its experiment found or created."""

import urllib.error
import urllib.request
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.config.schema import TrackingConfig
from pipeline.errors import PipelineError
from pipeline.redaction import redacted
from pipeline.tracking.liveness import is_dead
from pipeline.tracking.store import DEFAULT_TRACKING_URI, FAILURE_TAG, store_errors

SQLITE = "sqlite:///"
ANSWER_SECONDS = 10.0
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # what MLflow's UI calls training, as opposed to GenAI
    "mlflow.note.content": "INT8 text classifiers: `<variant>/...` are test figures of the stored model named by the prefix, "
    "`accuracy`, `loss`, `accuracy_drop` and `size_ratio` those of the shipped one. A sweep is a parent run; its jobs are "
    "nested under it, and its artifact `comparison.html` compares them.",
}


def open_experiment(config: TrackingConfig) -> tuple[MlflowClient, str]:
    """Open the store, and mark what dead processes left RUNNING in the experiment.

    Args:
        config: of the store.

    Returns:
        A client of the store, which MLflow is set to as well, and the experiment's id.

    Raises:
        PipelineError: the store does not answer or cannot be opened.
    """
    _check_answers(config.tracking_uri)
    with store_errors(config.tracking_uri):
        mlflow.set_tracking_uri(_prepared(config.tracking_uri))
        client = MlflowClient()
        experiment_id = _experiment_id(client, config)
        mark_dead(client, experiment_id)
    return client, experiment_id


def mark_dead(client: MlflowClient, experiment_id: str) -> None:
    """Set runs that are RUNNING without a living process to FAILED."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if is_dead(run.data.tags):
            client.set_tag(
                run.info.run_id,
                FAILURE_TAG,
                "its process ended without a word: kill -9, out of memory or a reboot",
            )
            client.set_terminated(run.info.run_id, "FAILED")


def next_step(uri: str, experiment_id: str, run_id: str) -> str:
    """Return the command or address that shows a run."""
    if uri.startswith("http"):
        return f"{redacted(uri)}/#/experiments/{experiment_id}/runs/{run_id}"
    return (
        "make ui"
        if uri == DEFAULT_TRACKING_URI
        else f"mlflow ui --backend-store-uri {redacted(uri)}"
    )


def ui_address(uri: str) -> str:
    """Return the address of the MLflow UI: the server's, or that of `make ui`."""
    return (
        redacted(uri).replace("***@", "").rstrip("/")
        if uri.startswith("http")
        else "http://127.0.0.1:5000"
    )


def _check_answers(uri: str) -> None:
    """Ask a server once: MLflow's client would ask again for minutes before it gives up."""
    if not uri.startswith(("http://", "https://")):
        return
    request = urllib.request.Request(f"{ui_address(uri)}/health")  # noqa: S310
    try:
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS)  # noqa: S310
    except (
        urllib.error.HTTPError
    ):  # an answer, if not a friendly one: MLflow's client brings credentials
        return
    except OSError as error:
        raise PipelineError(
            f"the tracking store {redacted(uri)} cannot be used: it does not answer ({getattr(error, 'reason', error)}); "
            "start it with mlflow server, or choose tracking=local."
        ) from error


def _prepared(uri: str) -> str:
    """Create a SQLite store if it is new, and make its path absolute, so that the URI holds wherever MLflow uses it.

    One process at a time: the migrations that MLflow 3.17 runs on a new database collide (mlflow issue 19943).
    """
    if not uri.startswith(SQLITE):
        return uri
    file = Path(uri.removeprefix(SQLITE)).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(
        file.with_name(f".{file.name}.lock"), timeout=120
    ):  # a read-only folder shows itself here
        MlflowClient(f"{SQLITE}{file}").search_experiments(max_results=1)
    return f"{SQLITE}{file}"


def _experiment_id(client: MlflowClient, config: TrackingConfig) -> str:
    name, location = config.experiment_name, config.artifact_location
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    if location is not None and "://" not in location:
        location = Path(location).absolute().as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS))
    except MlflowException:  # another process made it in the meantime
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)
