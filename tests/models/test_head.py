from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
)

from pipeline.config.schema import ModelConfig
from pipeline.models.head import SCALE, TANH_LINEAR, draw_head, start_near_identity
from pipeline.models.load import load_model

OTHER_HEADS = ("bart", "distilbert", "electra", "gpt2", "mobilebert", "modernbert")
SHAPE = {
    "hidden_size": 32,
    "embedding_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 50,
    "num_labels": 3,
}


@pytest.mark.parametrize("model_type", TANH_LINEAR)
def test_the_classifier_sees_the_classification_token_almost_as_it_is(model_type: str) -> None:
    config = AutoConfig.for_model(model_type, **SHAPE)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    start_near_identity(model, {f"{TANH_LINEAR[model_type]}.weight"})
    seen: list[torch.Tensor] = []
    *_, classifier = (each for each in model.modules() if isinstance(each, torch.nn.Linear))
    assert classifier.out_features == 3
    classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    hidden = model(torch.tensor([[2, 5, 3]]), output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(seen[0], torch.tanh(SCALE * hidden[:, 0]))


@pytest.mark.parametrize(
    "model_type",
    [*TANH_LINEAR, "bart", "distilbert", "electra", "gpt2", "mobilebert", "modernbert"],
)
def test_a_head_is_drawn_anew_and_its_encoder_stays(model_type: str) -> None:
    config = AutoConfig.for_model(model_type, **SHAPE, pad_token_id=0)
    model = AutoModelForSequenceClassification.from_config(config)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 7)
    drawn = draw_head(model)
    assert drawn
    for name, parameter in model.named_parameters():
        assert bool(parameter.eq(7).any()) is (name not in drawn), name


def test_what_the_checkpoint_lacks_is_new_and_a_pooler_that_it_has_stays(
    micro_model: Path, tmp_path: Path
) -> None:
    start = load_model(ModelConfig(str(micro_model)), ("cold", "hot"))
    assert start.new_parameters == {"classifier.weight", "classifier.bias"}
    assert not torch.equal(start.model.bert.pooler.dense.weight, SCALE * torch.eye(32))
    encoder = start.model.bert
    encoder.pooler = None
    encoder.save_pretrained(tmp_path)
    for file in micro_model.glob("*token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    start = load_model(ModelConfig(str(tmp_path)), ("cold", "hot"))
    assert {"bert.pooler.dense.weight", "bert.pooler.dense.bias"} < start.new_parameters
    assert torch.equal(start.model.bert.pooler.dense.weight, SCALE * torch.eye(32))
    assert not start.model.bert.pooler.dense.bias.any()


def test_a_pooler_that_was_never_trained_is_new(micro_model: Path, tmp_path: Path) -> None:
    encoder = load_model(ModelConfig(str(micro_model)), ("cold", "hot")).model.bert
    torch.nn.init.normal_(encoder.pooler.dense.weight, std=0.01)
    torch.nn.init.zeros_(encoder.pooler.dense.bias)
    encoder.save_pretrained(tmp_path)
    for file in micro_model.glob("*token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    start = load_model(ModelConfig(str(tmp_path)), ("cold", "hot"))
    assert "bert.pooler.dense.weight" in start.new_parameters
    assert torch.equal(start.model.bert.pooler.dense.weight, SCALE * torch.eye(32))


def test_a_classifier_keeps_the_pooler_that_it_was_trained_on(
    micro_model: Path, tmp_path: Path
) -> None:
    model = BertForSequenceClassification.from_pretrained(micro_model, num_labels=2)
    torch.nn.init.zeros_(model.bert.pooler.dense.bias)
    model.save_pretrained(tmp_path)
    for file in micro_model.glob("*token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    start = load_model(ModelConfig(str(tmp_path)), ("a", "b"))
    assert start.new_parameters == set()
    assert torch.equal(start.model.bert.pooler.dense.weight, model.bert.pooler.dense.weight)


def test_a_head_of_another_size_is_new_and_one_of_this_size_is_not(
    micro_model: Path, tmp_path: Path
) -> None:
    model = BertForSequenceClassification.from_pretrained(micro_model, num_labels=2)
    model.save_pretrained(tmp_path)
    for file in micro_model.glob("*token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert load_model(ModelConfig(str(tmp_path)), ("a", "b")).new_parameters == set()
    start = load_model(ModelConfig(str(tmp_path)), ("a", "b", "c"))
    assert start.new_parameters == {"classifier.weight", "classifier.bias"}
