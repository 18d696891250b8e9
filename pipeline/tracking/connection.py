"""Open the tracking store for writing: ask its server, create its database and its experiment."""

import contextlib
import logging
import os
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.entities import Experiment, LifecycleStage
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.config.paths import typed_path
from pipeline.config.schema import TrackingConfig
from pipeline.console.command_line import in_checkout, python
from pipeline.errors import INTERRUPTED, PipelineError, redacted
from pipeline.names import DESCRIPTION_TAG, FAILED, FAILURE_TAG, KILLED, PARENT_TAG, RUNNING
from pipeline.tracking import views
from pipeline.tracking.database import check_database
from pipeline.tracking.liveness import is_dead, is_silent
from pipeline.tracking.lookup import search_all
from pipeline.tracking.patience import STORE_ERRORS, Patience
from pipeline.tracking.store import (
    DEFAULT_TRACKING_URI,
    SQLITE,
    URI_VARIABLE,
    command,
    is_server,
    names_another_store,
    store_errors,
)
from pipeline.tracking.stored import discard_halves

log = logging.getLogger(__name__)
MIGRATION_SECONDS = 120.0  # that another process may take to create the database
ANSWER_SECONDS = 10.0
UI_ADDRESS = "http://127.0.0.1:5000"  # of `make ui`
DATABASE = re.compile(r"(postgresql|mysql|mssql)(\+\w+)?://")  # which several machines may use
ENDED_SILENTLY = "its process ended without a message: kill -9, out of memory or a reboot"
DESCRIPTION = """\
INT8 text classifiers. The menu above has prepared views: runs, accuracy against latency, recipes, \
training.

| column | meaning |
|---|---|
| `validation_accuracy` | of the shipped file; what runs are chosen by |
| `accuracy` | of the same file on the test split; what is reported |
| `linear/accuracy` | of a linear model on the same texts |
| `accuracy_drop` | what the shipped file lost against FP32, on the test split |
| `size_mb`, `latency_p50_ms` | of the shipped file: MB, and milliseconds for one text |
| `speedup` | against FP32 in PyTorch |
| `time/total_s` | seconds that the run took |

`VARIANT/...` are figures of one stored model. A sweep is a parent run, its jobs are nested under \
it, and its artifact `comparison.html` compares them.
"""
EXPERIMENT_TAGS = {
    # MLflow's name for training, as opposed to GenAI.
    "mlflow.experimentKind": "custom_model_development",
    DESCRIPTION_TAG: DESCRIPTION,
}


@dataclass(frozen=True)
class Connection:
    """An open experiment of a tracking store.

    Args:
        client: MLflow client of the tracking store, which MLflow itself is set to as well.
        experiment_id: id of the experiment that runs go to.
        uri: address of the store, as typed.
    """

    client: MlflowClient
    experiment_id: str
    uri: str

    def next_step(self, place: str) -> str:
        """Return the address that shows runs, or the command that serves the newest of them.

        Args:
            place: what the address has after the server's.
        """
        if is_server(self.uri):
            return f"{ui_address(self.uri)}{place}"
        if self.uri == DEFAULT_TRACKING_URI and in_checkout() and not names_another_store(self.uri):
            return "make ui"
        return command(self.uri, "-m", "pipeline.ui")

    def mark_dead(self, interrupted: str | None = None) -> None:
        """Set RUNNING runs without a living process to FAILED, and discard what was half stored.

        Args:
            interrupted: id of a sweep that a signal has just ended, and whose launcher ended the
                processes of its jobs: these are KILLED.
        """
        running = f"attributes.status = '{RUNNING}'"
        for run in search_all(self.client, [self.experiment_id], running):
            run_id = run.info.run_id
            # It may have ended, with its own status, since the search.
            if is_dead(run.data.tags) and self.client.get_run(run_id).info.status == RUNNING:
                of_sweep = run.data.tags.get(PARENT_TAG, "") == interrupted
                ended_with_sweep = of_sweep and not is_silent(run.data.tags)
                reason = INTERRUPTED if ended_with_sweep else ENDED_SILENTLY
                self.client.set_tag(run_id, FAILURE_TAG, reason)
                self.client.set_terminated(run_id, KILLED if ended_with_sweep else FAILED)
                with contextlib.suppress(*STORE_ERRORS):  # a server before MLflow 3 has no models
                    discard_halves(self.client, run)


def open_experiment(config: TrackingConfig, patience_s: float = 0.0) -> Connection:
    """Open the store, and mark what dead processes left RUNNING in the experiment.

    Args:
        config: the tracking group.
        patience_s: seconds to wait for a server that does not answer.

    Raises:
        PipelineError: the store does not answer, is of another MLflow, or cannot be opened.
    """
    # MLflow's client (3.17) would ask a server again by itself, silently and for four minutes;
    # Patience asks again and says so.
    os.environ.setdefault(MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, "1")
    if names_another_store(config.tracking_uri):
        _tell_of_variable(config.tracking_uri)
    _check_answers(config.tracking_uri, patience_s)
    with store_errors(config.tracking_uri):
        check_database(config.tracking_uri, patience_s)
        mlflow.set_tracking_uri(_prepared(config.tracking_uri))
        client = MlflowClient()
        connection = Connection(client, _experiment_id(client, config), config.tracking_uri)
        connection.mark_dead()
    return connection


def ui_address(uri: str) -> str:
    """Return the address of the MLflow UI: the server's, or that of `make ui`."""
    if is_server(uri):
        return redacted(uri).replace("***@", "").rstrip("/")
    return UI_ADDRESS


@cache  # once for all jobs of a process
def _tell_of_variable(uri: str) -> None:
    log.warning(
        "%s names another store and is not used: runs go to %s; tracking=server reads it",
        URI_VARIABLE,
        redacted(uri),
    )


def _check_answers(uri: str, patience_s: float) -> None:
    """Ask a server whether it is there; its answer may be that it wants credentials."""
    if not is_server(uri):
        return
    request = urllib.request.Request(f"{ui_address(uri)}/health")  # noqa: S310

    def ask() -> None:
        try:
            urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:  # MLflow's client brings the credentials
            pass
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ssl.SSLError):  # and knows the certificates
                raise

    try:
        Patience().send(ask, patience_s)
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise PipelineError(
            f"the tracking store {redacted(uri)} cannot be used: it does not answer ({reason}); "
            "start it with mlflow server, or choose tracking=local."
        ) from error


def _prepared(uri: str) -> str:
    """Create a SQLite store if it is new, and make its path absolute.

    One process at a time: the migrations that MLflow 3.17 runs on a new database collide (mlflow
    issue 19943).
    """
    if not uri.startswith(SQLITE):
        return uri
    file = Path(uri.removeprefix(SQLITE)).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    # A read-only folder shows itself here.
    with FileLock(file.with_name(f".{file.name}.lock"), timeout=MIGRATION_SECONDS):
        MlflowClient(f"{SQLITE}{file}").search_experiments(max_results=1)
    return f"{SQLITE}{file}"


def _check_active(experiment: Experiment, uri: str) -> None:
    if experiment.lifecycle_stage != LifecycleStage.DELETED:
        return
    arguments = ("experiments", "restore", "--experiment-id", str(experiment.experiment_id))
    restore = python("-m", "mlflow", *arguments, **{URI_VARIABLE: redacted(uri)})
    raise PipelineError(
        f"experiment {experiment.name} is deleted in {redacted(uri)}; restore it with: {restore}; "
        "or log to another one: tracking.experiment_name=NAME."
    )


def _check_location(config: TrackingConfig) -> None:
    """Refuse to give a new experiment of a shared store a folder that only this one has.

    MLflow keeps the location of an experiment for good, and everybody's runs go there.
    """
    uri, location = config.tracking_uri, config.artifact_location
    if not is_server(uri) and not DATABASE.match(uri):
        return
    is_relative = location is not None and not (
        "://" in location or typed_path(location).is_absolute()
    )
    if not is_relative and (location is not None or is_server(uri)):
        return
    found = "is missing" if location is None else f"{location} is a folder below this one"
    wanted = "give the URL, or the absolute path, of a place that all who use the store can reach"
    choice = "choose tracking=server, which leaves it to the server, or " if is_server(uri) else ""
    raise PipelineError(
        f"tracking.artifact_location {found}, and the store {redacted(uri)} may be shared: "
        f"{choice}{wanted}."
    )


def _experiment_id(client: MlflowClient, config: TrackingConfig) -> str:
    name, location = config.experiment_name, config.artifact_location
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        _check_active(experiment, config.tracking_uri)
        for tag, value in views.outdated(experiment.tags).items():
            client.set_experiment_tag(experiment.experiment_id, tag, value)
        return str(experiment.experiment_id)
    _check_location(config)
    if location is not None and "://" not in location:
        location = typed_path(location).absolute().as_uri()
    try:
        created = client.create_experiment(
            name, artifact_location=location, tags=EXPERIMENT_TAGS | views.view_tags()
        )
    except MlflowException:  # another process made it in the meantime
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)
    return str(created)
