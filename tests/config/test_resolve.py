from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipeline.config.resolve import (
    check_repeatable,
    read_logged,
    resolve,
    schema_keys,
    unknown_key,
)
from pipeline.config.schema import BaselineConfig
from pipeline.errors import PipelineError
from tests.conftest import composed


def test_an_added_key_that_no_schema_has_is_refused_with_the_nearest() -> None:
    # Hydra itself refuses a + below a typed node; what is added as a whole dictionary shows here.
    assert "did you mean learning_rate" in unknown_key("qat.phases.qat.learning_rat")
    assert "did you mean dataset" in unknown_key("datset.path")


def test_every_key_of_the_schema_is_listed_with_its_parents() -> None:
    keys = schema_keys()
    assert {"model", "model.revision", "qat.phases.<name>.learning_rate"} <= set(keys)
    assert "distillation.temperature" in keys, "an optional group has its keys too"


def logged(folder: Path, text: str) -> Path:
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_config_of_0_1_0_is_read_without_its_retired_key(tmp_path: Path) -> None:
    folder = logged(tmp_path, "export: {vocabulary: full, ship: onnx_int8}\ntrainer: {seed: 7}\n")
    config = read_logged(folder)
    assert (config.export.ship, config.trainer.seed) == ("onnx_int8", 7)
    assert config.trainer.optim == "adamw_torch_fused", "a key that the file lacks has its default"
    assert "vocabulary" not in OmegaConf.to_container(config)["export"]
    check_repeatable(folder)


def test_a_run_that_used_a_retired_key_cannot_be_repeated(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="export.vocabulary=corpus, which is no longer there"):
        check_repeatable(logged(tmp_path, "export: {vocabulary: corpus}\n"))


def test_an_interpolation_in_a_logged_config_is_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    names = ["${oc.env:SECRET}", r"\\${trainer.seed}", "$5", "${", "a }"]
    listed = ", ".join(f"'{name}'" for name in names)
    folder = logged(
        tmp_path, f"dataset: {{name: 'x${{oc.env:SECRET}}', label_names: [{listed}]}}\n"
    )
    config = OmegaConf.to_container(read_logged(folder), resolve=True)
    assert config["dataset"]["name"] == "x${oc.env:SECRET}"
    assert config["dataset"]["label_names"] == names


@pytest.mark.parametrize(
    "value", ["https://***@host/train.csv", "https://host/train.csv?token=***"]
)
def test_a_run_whose_address_had_a_secret_says_why_it_cannot_be_repeated(
    tmp_path: Path, value: str
) -> None:
    folder = logged(tmp_path, f"dataset: {{train_file: '{value}'}}\n")
    with pytest.raises(PipelineError, match=r"the run's dataset.train_file was .*never logged"):
        check_repeatable(folder)


def test_stars_that_are_no_secret_do_not_keep_a_run_from_being_repeated(tmp_path: Path) -> None:
    check_repeatable(logged(tmp_path, "dataset: {label_names: ['***', '*']}\n"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: {name_or_path: 'cut", "config.yaml is missing or damaged"),
        ("dataset: ${oc.env:", "config.yaml is missing or damaged"),
        ("\x00\x01", "config.yaml is missing or damaged"),
        ("", "config.yaml holds no config"),
        ("- a\n", "config.yaml holds no config"),
        ("trainer: {seed: seven}\n", "config.yaml is of another schema"),
        ("trainer: {sed: 7}\n", "config.yaml is of another schema"),
    ],
)
def test_a_damaged_logged_config_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(PipelineError, match=line) as caught:
        read_logged(logged(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_logged_config_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="config.yaml is missing or damaged"):
        read_logged(tmp_path)


@pytest.mark.usefixtures("here")
def test_the_linear_model_is_there_unless_it_is_left_out() -> None:
    assert resolve(composed("experiment=quickstart")).baseline == BaselineConfig()
    assert resolve(composed("experiment=quickstart", "baseline=none")).baseline is None


def test_every_path_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/checkpoint-1").mkdir()
    (tmp_path / "a.csv").touch()
    files = ("train_file", "validation_file", "test_file", "unlabelled_file")
    folders = ("model.name_or_path", "distillation.teacher", "trainer.resume_from_checkpoint")
    config = resolve(
        composed(
            "dataset=files",
            "+distillation=teacher",
            *(f'dataset.{key}="~/a.csv"' for key in files),
            'dataset.data_dir="~"',
            *(f'{key}="~/model"' for key in folders),
            'trainer.output_dir="~/checkpoints"',
        )
    )
    assert {getattr(config.dataset, key) for key in files} == {str(tmp_path / "a.csv")}
    assert config.dataset.data_dir == str(tmp_path)
    assert config.distillation is not None
    assert config.model.name_or_path == config.distillation.teacher == str(tmp_path / "model")
    assert config.trainer.resume_from_checkpoint == str(tmp_path / "model")
    assert config.trainer.output_dir == str(tmp_path / "checkpoints")
