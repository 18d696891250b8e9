"""Find the directory of a deployed model by run id, registered name or path."""

import re
from pathlib import Path

from pipeline.config.hub import RUN_ID
from pipeline.config.paths import is_directory, is_file, with_home
from pipeline.errors import PipelineError, nearest
from pipeline.inference.session import MLFLOW_FILE, refuse_pickles
from pipeline.names import FP32, MODEL
from pipeline.tracking import local_models
from pipeline.tracking.database import check_database, open_client
from pipeline.tracking.fetch import fetch, scratch_folder
from pipeline.tracking.lookup import every_page, find_run, registered_names
from pipeline.tracking.store import NOT_FOUND, store_errors, tracking_uri

_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def mlflow_directory(reference: str) -> Path:
    """Find the MLflow model (the directory with MLmodel) that a reference names.

    Args:
        reference: run id, models:/NAME@ALIAS, models:/NAME/VERSION or such a directory.

    Raises:
        PipelineError: there is no such model.
    """
    reference = with_home(reference)
    if is_directory(reference):
        if not is_file(Path(reference) / MLFLOW_FILE):
            raise PipelineError(
                f"{reference} is not an MLflow model: it has no file {MLFLOW_FILE}."
            )
        return Path(reference)
    if run := RUN_ID.fullmatch(reference):
        found = local_models.model_of_run(tracking_uri(), run[1])
        return found or _download(f"runs:/{run[1]}/{MODEL}", f"run {run[1]} has no MLflow model")
    if registered := _REGISTERED.fullmatch(reference):
        if found := local_models.registered_model(tracking_uri(), **registered.groupdict()):
            return found
        _check_registered(registered["name"], registered["alias"], registered["version"])
        return _download(reference, f"{reference} has no files")
    raise PipelineError(
        f"{reference} is not a directory, a run id (32 hex digits), models:/NAME@ALIAS "
        "or models:/NAME/VERSION."
    )


def model_directory(reference: str) -> Path:
    """Find the directory with the deployed model, its tokenizer and config.json.

    Args:
        reference: as for mlflow_directory, or a directory that an export wrote.

    Returns:
        The directory, which is data. Whatever an MLflow model brings beside it, code above all,
        is neither read nor run.

    Raises:
        PipelineError: there is no such model, or it holds a pickle.
    """
    reference = with_home(reference)
    if is_directory(reference) and not is_file(Path(reference) / MLFLOW_FILE):
        return Path(reference)
    packed = mlflow_directory(reference)
    refuse_pickles(packed)
    folders = sorted(folder for folder in (packed / "artifacts").glob("*") if is_directory(folder))
    if len(folders) != 1:
        raise PipelineError(
            f"{packed} is not a model of this pipeline: its folder artifacts/ should hold one "
            "model directory."
        )
    return folders[0]


def fp32_directory(reference: str, store: str) -> str:
    """Find the FP32 model of a run; return any reference but a run id as it is.

    Args:
        reference: run id, directory or Hub id.
        store: address of the tracking store.

    Raises:
        PipelineError: there is no such run, or it has no FP32 model.
    """
    if not (run_id := RUN_ID.fullmatch(reference)):
        return reference
    with store_errors(store):
        client = open_client(store)
        run = find_run(client, run_id[1])
        if not client.list_artifacts(run_id[1], FP32):
            raise PipelineError(
                f"run {run_id[1]} has no FP32 model; of a sweep's jobs the best alone keeps it, or "
                "all with tracking.keep=all."
            )
        return str(fetch(client, run, FP32))


def _check_registered(name: str, alias: str | None, version: str | None) -> None:
    from mlflow.exceptions import MlflowException

    uri = tracking_uri()
    with store_errors(uri):
        client = open_client(uri)
        try:
            model = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != NOT_FOUND:
                raise
            names = registered_names(client)
            hint = "none is registered; python -m pipeline.promote RUN_ID registers one."
            raise PipelineError(
                f"models:/{name} is not registered; {nearest(name, names) if names else hint}"
            ) from error
        if alias is not None and alias not in model.aliases:
            hint = nearest(alias, model.aliases) if model.aliases else "it has none."
            raise PipelineError(f"models:/{name} has no alias {alias!r}; {hint}")
        if version is not None:
            versions = every_page(
                lambda token: client.search_model_versions(f"name = '{name}'", page_token=token)
            )
            numbers = [str(registered.version) for registered in versions]
            if version not in numbers:
                raise PipelineError(
                    f"models:/{name} has no version {version}; {nearest(version, numbers)}"
                )


def _download(uri: str, otherwise: str) -> Path:
    """Copy a model to a scratch folder, which is removed when the process ends."""
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(store := tracking_uri())
    with store_errors(store):
        check_database(store)
        scratch = str(scratch_folder())
        try:
            return Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch))
        except MlflowException as error:
            if error.error_code != NOT_FOUND:
                raise
            raise PipelineError(f"{otherwise}.") from error
