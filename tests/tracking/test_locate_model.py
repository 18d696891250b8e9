from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import PipelineError
from pipeline.tracking.locate_model import (
    _check_registered,
    fp32_directory,
    mlflow_directory,
    model_directory,
)


@pytest.fixture
def registry(store: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return MlflowClient(store)


def mlflow_model(folder: Path, *models: str) -> Path:
    for name in models:
        (folder / "artifacts" / name).mkdir(parents=True)
    (folder / "MLmodel").touch()
    return folder


def test_a_directory_that_an_export_wrote_is_the_model(tmp_path: Path) -> None:
    assert model_directory(str(tmp_path)) == tmp_path


def test_a_directory_may_lie_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    typed = f"~/{tmp_path.name}"
    assert model_directory(typed) == tmp_path
    mlflow_model(tmp_path, "onnx_int8")
    assert mlflow_directory(typed) == tmp_path


def test_the_model_of_an_mlflow_directory_is_its_only_folder_of_artifacts(tmp_path: Path) -> None:
    packed = mlflow_model(tmp_path, "onnx_int8")
    assert mlflow_directory(str(packed)) == packed
    assert model_directory(str(packed)) == packed / "artifacts" / "onnx_int8"


@pytest.mark.parametrize("models", [(), ("first", "second")])
def test_an_mlflow_model_of_somebody_else_is_refused(
    tmp_path: Path, models: tuple[str, ...]
) -> None:
    with pytest.raises(PipelineError, match="is not a model of this pipeline"):
        model_directory(str(mlflow_model(tmp_path, *models)))


def test_a_directory_without_mlmodel_cannot_be_served(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="is not an MLflow model: it has no file MLmodel"):
        mlflow_directory(str(tmp_path))


def test_a_reference_of_no_known_form_names_the_forms() -> None:
    with pytest.raises(PipelineError, match=r"nowhere is not a directory, a run id .*NAME@ALIAS"):
        mlflow_directory("nowhere")


@pytest.mark.usefixtures("registry")
def test_a_run_without_a_model_is_named() -> None:
    with pytest.raises(PipelineError, match=f"run {'0' * 32} has no MLflow model"):
        mlflow_directory("0" * 32)


def test_a_name_alias_or_version_that_is_not_registered_is_told_with_the_nearest(
    registry: MlflowClient,
) -> None:
    with pytest.raises(PipelineError, match="int8 is not registered; none is registered"):
        mlflow_directory("models:/int8@champion")
    registry.create_registered_model("int8-text-classifier")
    with pytest.raises(PipelineError, match=r"did you mean int8-text-classifier\?"):
        mlflow_directory("models:/int8-text-clasifier@champion")
    with pytest.raises(PipelineError, match="has no alias 'champion'; it has none"):
        mlflow_directory("models:/int8-text-classifier@champion")
    with pytest.raises(PipelineError, match="has no version 7"):
        mlflow_directory("models:/int8-text-classifier/7")


def test_a_version_behind_the_first_page_is_registered(
    registry: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MlflowClient.search_model_versions

    def one_at_a_time(self: MlflowClient, *arguments: object, **options: object) -> object:
        return original(self, *arguments, **{**options, "max_results": 1})

    monkeypatch.setattr(MlflowClient, "search_model_versions", one_at_a_time)
    registry.create_registered_model("int8")
    versions = [registry.create_model_version("int8", "/nowhere").version for _ in range(3)]
    for version in versions:
        _check_registered("int8", None, str(version))
    with pytest.raises(PipelineError, match="has no version 4"):
        _check_registered("int8", None, "4")


def test_only_a_run_id_stands_for_the_fp32_model_of_a_run(store: str) -> None:
    assert fp32_directory("owner/teacher", store) == "owner/teacher"
    with pytest.raises(PipelineError, match=f"run {'0' * 32} is not in "):
        fp32_directory("0" * 32, store)
    run_id = MlflowClient(store).create_run("0").info.run_id
    with pytest.raises(PipelineError, match=f"run {run_id} has no FP32 model"):
        fp32_directory(run_id, store)


def test_a_reference_that_cannot_be_reached_is_no_directory(closed: Path) -> None:
    for reference in (str(closed / "model"), "x" * 300):
        for directory_of in (mlflow_directory, model_directory):
            with pytest.raises(PipelineError, match=f"{reference} is not a directory, a run id"):
                directory_of(reference)
    with pytest.raises(PipelineError, match="closed is not an MLflow model"):
        mlflow_directory(str(closed))
