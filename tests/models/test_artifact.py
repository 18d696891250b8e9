import json
from collections.abc import Callable
from pathlib import Path
from pickle import dumps

import pytest
import torch
from transformers import AutoTokenizer

from pipeline.config.schema import ModelConfig
from pipeline.errors import PipelineError
from pipeline.models.artifact import Artifact, load, save_artifact
from pipeline.models.load import load_model


@pytest.fixture
def saved(tmp_path: Path, micro_model: Path) -> Artifact:
    model = load_model(ModelConfig(str(micro_model)), ("cold", "hot")).model
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    return save_artifact("fp32", model.save_pretrained, tokenizer, tmp_path / "fp32")


def test_the_float_model_is_saved_without_a_pickle_and_with_its_tokenizer(saved: Artifact) -> None:
    names = {file.name for file in saved.path.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_a_plain_reload_uses_the_attention_it_was_trained_with(saved: Artifact) -> None:
    assert json.loads((saved.path / "config.json").read_text())["_attn_implementation"] == "eager"
    assert load(saved).config._attn_implementation == "eager"


def test_the_size_is_that_of_the_weights(saved: Artifact) -> None:
    assert saved.size_mb == (saved.path / "model.safetensors").stat().st_size / 1e6


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_a_directory_that_is_not_a_model_is_refused(tmp_path: Path, variant: str) -> None:
    with pytest.raises(PipelineError, match=f"the {variant} model cannot be reloaded"):
        load(Artifact(variant, tmp_path))


class Trap:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"__import__('pathlib').Path({str(self.proof)!r}).touch()",)


@pytest.mark.parametrize("variant", ["fp32", "int8"])
@pytest.mark.parametrize("save", [torch.save, lambda trap, file: file.write_bytes(dumps(trap))])
def test_a_pickle_in_the_place_of_weights_does_not_run(
    saved: Artifact, tmp_path: Path, variant: str, save: Callable[[Trap, Path], None]
) -> None:
    (saved.path / "model.safetensors").unlink()
    save(Trap(tmp_path / "proof"), saved.path / "pytorch_model.bin")
    with pytest.raises(PipelineError, match=f"the {variant} model cannot be reloaded"):
        load(Artifact(variant, saved.path))
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_code_that_a_config_names_does_not_run(
    saved: Artifact, tmp_path: Path, variant: str
) -> None:
    (saved.path / "evil.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w')")
    file = saved.path / "config.json"
    classes = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    config = {"model_type": "evil", "auto_map": classes, "_attn_implementation": "evil/kernel"}
    file.write_text(json.dumps(config))
    with pytest.raises(PipelineError, match=f"the {variant} model cannot be reloaded"):
        load(Artifact(variant, saved.path))
    assert not (tmp_path / "proof").exists()


def test_an_artifact_is_loaded_without_the_code_that_its_config_names(
    armed_classifier: Path,
) -> None:
    load(Artifact("fp32", armed_classifier))
    with pytest.raises(PipelineError, match="No such file .*pytorch_model.bin"):
        load(Artifact("int8", armed_classifier))
    assert not (armed_classifier / "proof").exists()


def test_a_kernel_of_the_hub_that_a_config_names_is_not_loaded(saved: Artifact) -> None:
    file = saved.path / "config.json"
    config = json.loads(file.read_text()) | {"_attn_implementation": "evil/kernel"}
    file.write_text(json.dumps(config))
    assert load(saved).config._attn_implementation == "eager"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_file_that_was_cut_is_one_line(saved: Artifact, name: str, kept: float) -> None:
    file = saved.path / name
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(PipelineError, match="the fp32 model cannot be reloaded from ") as caught:
        load(saved)
    assert str(saved.path) in str(caught.value)
    assert "\n" not in str(caught.value)
