"""Remove models that nobody is going to deploy from the store: those of one run are 190 MB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow.entities import FileInfo, LoggedModel, Run
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from pipeline.config.schema import KEEP_NONE, KEEP_SHIPPED
from pipeline.names import (
    FINISHED,
    FP32,
    FP32_FORMATS,
    INT8,
    INT8_FORMATS,
    KEPT_TAG,
    LINEAR,
    SHIPPED_TAG,
)
from pipeline.tracking.local_models import local_path
from pipeline.tracking.stored import discard_models, models_of

VARIANTS = (LINEAR, FP32, INT8, *FP32_FORMATS, *INT8_FORMATS)
MB = 1_000_000


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended, as far as its models are concerned.

    Args:
        run_id: id of the run.
        name: name of the run.
        status: its status in MLflow.
        tags: its tags, KEPT_TAG and SHIPPED_TAG among them if it has them.
        artifact_uri: where its artifacts are.
    """

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    artifact_uri: str

    @classmethod
    def of(cls, run: Run) -> "EndedRun":
        """Take what is needed of a run as MLflow returned it."""
        info = run.info
        return cls(info.run_id, info.run_name, info.status, run.data.tags, info.artifact_uri)


@dataclass(frozen=True)
class Surplus:
    """Models of a run that has ended, which need not stay.

    Args:
        run: the run.
        keep: what stays of its models.
        folders: variants among its artifacts.
        models: its MLflow models.
        size_mb: size of both, in MB of 1,000,000 bytes; of models that lie on this machine.
    """

    run: EndedRun
    keep: str
    folders: Sequence[str]
    models: Sequence[LoggedModel]
    size_mb: float

    def discard(self, client: MlflowClient) -> None:
        """Remove them. Figures, curves, config and reports of the run stay.

        Args:
            client: MLflow client of the tracking store.

        Raises:
            MlflowException, SQLAlchemyError, OSError: the store does not answer.
        """
        repository = _artifacts_of(client, self.run)
        for folder in self.folders:
            repository.delete_artifacts(folder)  # type: ignore[no-untyped-call]
        discard_models(client, self.models)
        client.set_tag(self.run.run_id, KEPT_TAG, self.keep)


def surplus_of(client: MlflowClient, run: EndedRun, keep: str) -> Surplus | None:
    """Find the models of a run that need not stay.

    A run that did not finish needs none. One with a registered model keeps all, whatever is asked:
    any of its files may be what was registered.

    Args:
        client: MLflow client of the tracking store.
        run: the run.
        keep: KEEP_SHIPPED leaves the shipped artifact (without exports, the model in PyTorch), its
            MLflow model and the linear model, which the gate compares it with; KEEP_NONE leaves
            nothing.

    Returns:
        What need not stay; None if nothing is to be removed of this run.

    Raises:
        MlflowException, SQLAlchemyError, OSError: the store does not answer.
    """
    run_id, tags = run.run_id, run.tags
    keep = keep if run.status == FINISHED else KEEP_NONE
    if tags.get(KEPT_TAG) in (keep, KEEP_NONE):
        return None
    if client.search_model_versions(f"run_id = '{run_id}'"):
        return None
    repository = _artifacts_of(client, run)
    stored = [file for file in repository.list_artifacts() if file.path in VARIANTS]
    trained = INT8 if INT8 in [file.path for file in stored] else FP32
    stay = {LINEAR, tags.get(SHIPPED_TAG, trained)} if keep == KEEP_SHIPPED else set()
    surplus = [file for file in stored if file.path not in stay]
    models = [] if keep == KEEP_SHIPPED else models_of(client, run_id)
    size = sum(_bytes(repository, file) for file in surplus)
    size += sum(_bytes_of_model(model) for model in models)
    return Surplus(run, keep, [file.path for file in surplus], models, size / MB)


def _bytes_of_model(model: LoggedModel) -> int:
    folder = local_path(model.artifact_location)
    files = [] if folder is None else folder.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _artifacts_of(client: MlflowClient, run: EndedRun) -> ArtifactRepository:
    """Open the artifacts of a run; the client's own functions would read the run again."""
    return get_artifact_repository(run.artifact_uri, tracking_uri=client.tracking_uri)


def _bytes(repository: ArtifactRepository, file: FileInfo) -> int:
    if not file.is_dir:
        return int(file.file_size or 0)
    return sum(_bytes(repository, each) for each in repository.list_artifacts(file.path))
