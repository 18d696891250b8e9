import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from pipeline.models.inference_graph import inference_graph


def bert(layers: int, **changes: object) -> PreTrainedModel:
    config = BertConfig(
        vocab_size=100,
        hidden_size=48,
        num_hidden_layers=layers,
        num_attention_heads=3,  # of size 16, which is not 3: a wrong axis shows
        intermediate_size=80,
        max_position_embeddings=40,
        num_labels=5,
        initializer_range=0.5,  # far from zero, so that attention is far from uniform
        attn_implementation="eager",
        **changes,
    )
    return randomized(BertForSequenceClassification(config))


def randomized(model: PreTrainedModel) -> PreTrainedModel:
    """Biases and LayerNorms start as zeros and ones, which would hide a term left out."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=0.3, std=0.5)
    return model.eval()


def batches(vocab_size: int, count: int = 20) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Make batches with random padding; the first text is never padded, the last is short."""
    found = []
    for _ in range(count):
        batch, tokens = int(torch.randint(1, 9, ())), int(torch.randint(3, 40, ()))
        ids = torch.randint(0, vocab_size, (batch, tokens))
        lengths = torch.randint(1, tokens + 1, (batch,))
        lengths[0] = tokens
        mask = (torch.arange(tokens)[None] < lengths[:, None]).long()
        found.append((ids, mask))
    return found


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_graph_answers_like_the_model_on_padded_batches(layers: int) -> None:
    torch.manual_seed(layers)
    model = bert(layers)
    graph = inference_graph(model)
    assert type(graph).__name__ == "_LeanBert"
    with torch.inference_mode():
        for ids, mask in batches(100):
            expected = model(input_ids=ids, attention_mask=mask).logits
            assert expected.std() > 0.1
            torch.testing.assert_close(graph(ids, mask), expected, rtol=1e-5, atol=2e-5)


def test_positions_behind_the_cut_are_left_out() -> None:
    torch.manual_seed(0)
    model = bert(2)
    graph = inference_graph(model, max_length=12)
    sizes = [sum(each.numel() for each in g.parameters()) for g in (inference_graph(model), graph)]
    assert sizes[0] - sizes[1] == (40 - 12) * 48
    ids = torch.randint(0, 100, (3, 12))
    with torch.inference_mode():
        expected = model(input_ids=ids).logits
        torch.testing.assert_close(graph(ids, torch.ones_like(ids)), expected, rtol=1e-5, atol=2e-5)


def test_what_padding_holds_does_not_change_the_answer() -> None:
    torch.manual_seed(0)
    graph = inference_graph(bert(2))
    ids, mask = torch.randint(0, 100, (2, 12)), torch.ones(2, 12, dtype=torch.long)
    mask[1, 5:] = 0
    changed = ids.clone()
    changed[1, 5:] = torch.randint(0, 100, (7,))
    with torch.inference_mode():
        torch.testing.assert_close(graph(changed, mask), graph(ids, mask), rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes", [{"position_embedding_type": "relative_key"}, {"output_attentions": True}]
)
def test_a_bert_of_another_kind_is_left_as_it_is(changes: dict[str, object]) -> None:
    model = bert(2, **changes)
    assert_plain(model, model.config)


def test_another_architecture_is_left_as_it_is() -> None:
    config = DistilBertConfig(
        vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=64, num_labels=5
    )
    assert_plain(randomized(DistilBertForSequenceClassification(config)), config)


def assert_plain(model: PreTrainedModel, config: PretrainedConfig) -> None:
    graph = inference_graph(model)
    with torch.inference_mode():
        for ids, mask in batches(config.vocab_size, 3):
            expected = model(input_ids=ids, attention_mask=mask).logits
            torch.testing.assert_close(graph(ids, mask), expected, rtol=0, atol=0)
