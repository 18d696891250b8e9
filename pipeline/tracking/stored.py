"""Discard what was not stored whole, and models that are not needed."""

import shutil
from collections.abc import Iterable

from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.tracking import MlflowClient

from pipeline.names import MODEL
from pipeline.tracking.local_models import local_path
from pipeline.tracking.lookup import every_page

PART = ".part"  # ends the name of a folder that is being stored


def models_of(client: MlflowClient, run_id: str) -> list[LoggedModel]:
    """Read the models that a run has logged, those that were not logged whole included.

    Args:
        client: MLflow client of the tracking store.
        run_id: id of the run.

    Raises:
        MlflowException, SQLAlchemyError, OSError: the store does not answer.
    """
    experiment_id = client.get_run(run_id).info.experiment_id
    of_run = f"name = '{MODEL}' AND source_run_id = '{run_id}'"
    return every_page(
        lambda token: client.search_logged_models([experiment_id], of_run, page_token=token)
    )


def discard_models(client: MlflowClient, models: Iterable[LoggedModel]) -> None:
    """Delete models, and their files if they lie on this machine.

    Args:
        client: MLflow client of the tracking store.
        models: models to delete.

    Raises:
        MlflowException, SQLAlchemyError, OSError: the store does not answer.
    """
    for model in models:
        client.delete_logged_model(model.model_id)
        if (files := local_path(model.artifact_location)) is not None:
            shutil.rmtree(files, ignore_errors=True)


def discard_halves(client: MlflowClient, run: Run) -> None:
    """Delete what a run was storing when its process was killed.

    Args:
        client: MLflow client of the tracking store.
        run: the run.

    Raises:
        MlflowException, SQLAlchemyError, OSError: the store does not answer.
    """
    if (folder := local_path(run.info.artifact_uri)) is not None:
        for part in folder.glob(f"*{PART}"):
            shutil.rmtree(part, ignore_errors=True)
    models = models_of(client, run.info.run_id)
    discard_models(client, [each for each in models if each.status != LoggedModelStatus.READY])
