from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from pipeline import config as schema
from pipeline.errors import PipelineError

CONF = Path(__file__).parents[1] / "conf"
GROUPS = ["model", "dataset", "qat", "trainer", "export", "benchmark", "tracking", "experiment"]
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the assets that some config files name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets/minilm").mkdir(parents=True)
    (tmp_path / "assets/reviews").mkdir()
    return tmp_path


def composed(*overrides: str) -> DictConfig:
    schema.register()
    with initialize_config_dir(str(CONF)):
        return compose("config", list(overrides))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_config_file_composes_into_a_valid_run(here: Path, group: str, option: str) -> None:
    (here / "train.csv").touch()
    needed = ["dataset.train_file=train.csv"] if (group, option) == ("dataset", "files") else []
    resolved = schema.resolve(composed(f"{group}={option}", *needed))
    assert resolved.model.name_or_path
    assert resolved.qat.phases


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_config_file_says_how_to_call_it_in_its_first_comment(group: str, option: str) -> None:
    lines = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines[:2] if line.startswith("# python -m pipeline")]
    assert comments, f"{group}/{option}.yaml"
    assert f"{group}=" in comments[0] or f"{group}.KEY=" in comments[0]


def test_the_default_run_is_the_task_of_the_article() -> None:
    resolved = schema.resolve(composed())
    assert resolved.model.name_or_path == "prajjwal1/bert-tiny"
    assert resolved.dataset.path == "dair-ai/emotion"
    assert resolved.dataset.max_length == 128
    assert list(resolved.qat.phases) == ["finetune", "qat"]
    assert [phase.quantize for phase in resolved.qat.phases.values()] == [False, True]


def test_the_published_sample_is_followed_to_the_letter() -> None:
    resolved = schema.resolve(composed("experiment=intel_sample"))
    assert resolved.dataset.padding == "max_length"
    assert resolved.qat.name == "direct"
    assert resolved.qat.fp32_op_types == []
    trainer = resolved.trainer
    assert (trainer.num_train_epochs, trainer.per_device_train_batch_size, trainer.learning_rate) == (2, 8, 5e-5)
    assert (trainer.seed, trainer.optim, trainer.group_by_length) == (42, "adamw_torch", False)
    assert not resolved.model.classification_token_only


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("trainer.learning_rate=0", "trainer.learning_rate=0.0 must be above 0"),
        ("trainer.num_train_epochs=-1", "trainer.num_train_epochs=-1.0 must be above 0"),
        ("qat.phases.qat.learning_rate=nan", "qat.phases.qat.learning_rate=nan must be above 0"),
        ("model.num_hidden_layers=0", "model.num_hidden_layers=0 must be above 0"),
        ("dataset.max_length=2", "dataset.max_length=2 leaves no room"),
        ("dataset.test_size=1.5", "dataset.test_size=1.5 must lie between 0 and 1"),
        ("trainer.eval_strategy=steps", "needs trainer.eval_steps=N"),
        ("qat.phases.finetune.quantize=true", "only possible in the last phase"),
        ("qat.fp32_op_types=[Embeding]", "Embeding is unknown; did you mean Embedding?"),
        ("dataset.data_dir=nowhere", "dataset.data_dir=nowhere does not exist"),
        ("dataset.train_file=nowhere.csv", "dataset.train_file=nowhere.csv does not exist"),
        ("dataset.test_file=https://example.org/a.csv", "dataset.train_file has no value"),
        ("model.name_or_path=./nowhere", "model.name_or_path=./nowhere is not a directory"),
        ("dataset=files", "dataset.train_file has no value; give dataset.train_file=FILE"),
        ("export.formats=[onnx_int4]", "export.formats: onnx_int4 is unknown; did you mean onnx_int8"),
        ("export.formats=[onnx_int8,onnx_int8]", "names a format twice"),
        ("export.ship=openvino", "export.ship=openvino is not made; did you mean openvino_int8"),
        ("benchmark.repetitions=-1", "benchmark.repetitions=-1 must not be negative"),
        ("qat.fp32_op_types=[Linear]", "qat.fp32_op_types has Linear, so that onnx_int8 would have nothing to quantize"),
        ("export.calibration_samples=0", "export.calibration_samples=0 must be above 0"),
        ("tracking.tracking_uri=???", "tracking.tracking_uri has no value"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_key(override: str, reason: str) -> None:
    with pytest.raises(PipelineError) as caught:
        schema.resolve(composed(override))
    assert reason in str(caught.value)


@pytest.mark.parametrize("group", ["model=minilm", "dataset=reviews"])
def test_missing_assets_are_said_to_come_from_make_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="make assets"):
        schema.resolve(composed(group))


def test_an_added_key_that_no_schema_has_is_refused_with_the_nearest() -> None:
    # Hydra itself refuses a + below a typed node; what is added as a whole dictionary shows here.
    assert "did you mean learning_rate" in schema.unknown_key("qat.phases.qat.learning_rat")
    assert "did you mean dataset" in schema.unknown_key("datset.path")


def test_every_trainer_key_is_a_training_argument() -> None:
    from dataclasses import fields

    from transformers import TrainingArguments

    known = {item.name for item in fields(TrainingArguments)}
    assert {item.name for item in fields(schema.TrainerConfig)} <= known


def test_a_missing_extra_is_named_before_anything_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "find_spec", lambda name: None if name == "nncf" else object())
    with pytest.raises(
        PipelineError, match=r"openvino_int8 needs OpenVINO and NNCF: pip install -e '.\[openvino\]', or choose"
    ):
        schema.resolve(composed("dataset=reviews", "model=minilm"))
    assert schema.resolve(composed("dataset=reviews", "model=minilm", "export=onnx")).export.formats == [
        "onnx_fp32",
        "onnx_int8",
    ]
