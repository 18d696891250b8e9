import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from pipeline.config.schema import ModelConfig
from pipeline.errors import PipelineError
from pipeline.models.artifact import Artifact, load, save_artifact
from pipeline.models.load import load_model


@pytest.fixture
def saved(tmp_path: Path, micro_model: Path) -> Artifact:
    model = load_model(ModelConfig(str(micro_model)), ("cold", "hot"))
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
