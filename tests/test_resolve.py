from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.resolve import resolve, unknown_key
from tests.conftest import composed


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
        resolve(composed(override))
    assert reason in str(caught.value)


@pytest.mark.parametrize("group", ["model=minilm", "dataset=reviews"])
def test_missing_assets_are_said_to_come_from_make_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="make assets"):
        resolve(composed(group))


def test_an_added_key_that_no_schema_has_is_refused_with_the_nearest() -> None:
    # Hydra itself refuses a + below a typed node; what is added as a whole dictionary shows here.
    assert "did you mean learning_rate" in unknown_key("qat.phases.qat.learning_rat")
    assert "did you mean dataset" in unknown_key("datset.path")


def test_a_missing_extra_is_named_before_anything_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.checks.find_spec", lambda name: None if name == "nncf" else object())
    with pytest.raises(
        PipelineError, match=r"openvino_int8 needs OpenVINO and NNCF: pip install -e '.\[openvino\]', or choose"
    ):
        resolve(composed("dataset=reviews", "model=minilm"))
    assert resolve(composed("dataset=reviews", "model=minilm", "export=onnx")).export.formats == [
        "onnx_fp32",
        "onnx_int8",
    ]
