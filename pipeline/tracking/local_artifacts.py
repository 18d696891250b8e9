"""Find artifacts that lie on this machine, and discard models that were not logged whole."""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

from mlflow.tracking import MlflowClient

from pipeline.names import MODEL


def local_path(uri: str) -> Path | None:
    """Return where artifacts lie on this machine; None if a server has them.

    Args:
        uri: address of the artifacts, as MLflow has it.
    """
    parsed = urlparse(uri)
    return Path(unquote(parsed.path)) if parsed.scheme in {"", "file"} else None


def discard_models(client: MlflowClient, run_id: str) -> None:
    """Delete the models that a run has in the store, and their files on this machine.

    Args:
        client: MLflow client of the tracking store.
        run_id: id of the run.

    Raises:
        MlflowException, SQLAlchemyError, OSError: the store does not answer.
    """
    experiment_id = client.get_run(run_id).info.experiment_id
    of_run = f"name = '{MODEL}' AND source_run_id = '{run_id}'"
    for model in client.search_logged_models([experiment_id], of_run):
        client.delete_logged_model(model.model_id)
        if (files := local_path(model.artifact_location)) is not None:
            shutil.rmtree(files, ignore_errors=True)
