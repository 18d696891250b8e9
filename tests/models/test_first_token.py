from pathlib import Path

import pytest
import torch
from transformers import (
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from pipeline.models.first_token import FirstTokenOnly, absorbed_attention, last_layer
from tests.conftest import micro_bert


def padded_batch(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (8,), generator=generator)
    ids = torch.randint(1, 50, (8, 12), generator=generator)
    mask = (torch.arange(12)[None] < lengths[:, None]).long()
    labels = torch.randint(0, 3, (8,), generator=generator)
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("seed", range(5))
def test_logits_and_every_gradient_are_those_of_the_whole_layer(seed: int) -> None:
    model, batch = micro_bert().eval(), padded_batch(seed)
    whole = model(**batch)
    whole.loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()

    switch = FirstTokenOnly()
    switch.on_epoch_begin(None, None, None, model=model)
    first = model(**batch)
    assert model.bert(input_ids=batch["input_ids"]).last_hidden_state.shape[1] == 1
    first.loss.backward()

    torch.testing.assert_close(first.logits, whole.logits, rtol=0, atol=1e-6)
    unseen = last_layer(model).attention.self.key.bias  # the softmax does not see it
    assert unseen.grad is None
    unseen.grad = torch.zeros_like(unseen)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6, msg=name)


def test_attention_without_keys_and_values_is_the_same_with_dropout() -> None:
    attention = last_layer(micro_bert(attention_probs_dropout_prob=0.5)).attention.self.train()
    hidden, mask = torch.randn(8, 12, 32), torch.zeros(8, 1, 1, 12)
    mask[:, ..., 9:] = torch.finfo(torch.float32).min
    torch.manual_seed(0)
    absorbed = absorbed_attention(attention, hidden[:, :1], mask, hidden)
    torch.manual_seed(0)
    whole = attention(hidden[:, :1], mask, None, hidden)[0]
    torch.testing.assert_close(absorbed, whole, rtol=0, atol=1e-6)


def test_keys_and_values_that_are_wrapped_for_quantization_are_computed() -> None:
    model, seen = micro_bert(), []
    attention = last_layer(model).attention.self
    for name in ("key", "value"):
        projection = getattr(attention, name)
        projection.register_forward_hook(lambda *_: seen.append(1))
        setattr(attention, name, torch.nn.Sequential(projection))
    FirstTokenOnly().on_epoch_begin(None, None, None, model=model)
    model(**padded_batch(0))
    assert len(seen) == 2


def test_the_layer_is_whole_again_after_training() -> None:
    model = micro_bert().eval()
    switch = FirstTokenOnly()
    switch.on_epoch_begin(None, None, None, model=model)
    switch.on_train_end(None, None, None)
    assert model.bert(input_ids=padded_batch(0)["input_ids"]).last_hidden_state.shape == (8, 12, 32)
    assert "forward" not in vars(last_layer(model))


@pytest.mark.parametrize(
    "option", [{"is_decoder": True}, {"output_hidden_states": True}, {"output_attentions": True}]
)
def test_a_model_whose_other_tokens_are_read_is_left_alone(option: dict[str, bool]) -> None:
    assert last_layer(micro_bert(**option)) is None


def test_an_architecture_that_is_not_known_is_left_alone() -> None:
    model = DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=50, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    )
    assert last_layer(model) is None
    FirstTokenOnly().on_epoch_begin(None, None, None, model=model)
    assert "forward" not in vars(model)


def test_a_model_with_sdpa_attention_is_left_alone(micro_model: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(micro_model, attn_implementation="sdpa")
    assert last_layer(model) is None
