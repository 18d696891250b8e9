"""Give artifacts a place on this machine, and leave nothing of it behind."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError
from pipeline.tracking.local_models import local_path

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


def fetch(client: "MlflowClient", run: "Run", name: str = "") -> Path:
    """Return where artifacts of a run lie on this machine, to be read.

    MLflow's download_artifacts("runs:/...") copies them in any case (3.17), from a store on this
    machine as well, to a folder that stays: 190 MB of a run.

    Args:
        client: MLflow client of the tracking store.
        run: the run.
        name: place of the artifacts in the run; empty means all of them.

    Returns:
        The store's own folder or file if the store is on this machine; else a copy, the same at the
        next call, which is removed when the process ends.

    Raises:
        PipelineError: a store on this machine has no such artifacts.
        MlflowException, SQLAlchemyError, OSError: a server does not answer, or has none.
    """
    if (folder := local_path(run.info.artifact_uri)) is not None:
        if not (folder / name).exists():
            raise PipelineError(f"run {run.info.run_id} has lost its files: no {folder / name}.")
        return folder / name
    return _copy(client.tracking_uri, run.info.run_id, name)


def scratch_folder() -> Path:
    """Make a folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="pipeline-fetched-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def _copy(tracking_uri: str, run_id: str, name: str) -> Path:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri)
    return Path(client.download_artifacts(run_id, name, str(scratch_folder())))
