import datasets
import pytest
import torch
from transformers import BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

from pipeline.training.embeddings import UsedRows, frozen
from tests.conftest import micro_bert

TEXTS = datasets.Dataset.from_dict({"input_ids": [[2, 7, 9, 3], [2, 11, 3]]})
BATCH = {
    "input_ids": torch.tensor([[2, 7, 9, 3], [2, 11, 3, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "labels": torch.tensor([0, 1]),
}
USED = [0, 2, 3, 7, 9, 11]


@pytest.fixture
def model() -> BertForSequenceClassification:
    return micro_bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def test_the_table_has_the_used_rows_alone_and_answers_the_same(
    model: BertForSequenceClassification,
) -> None:
    model.eval()
    expected = model(**BATCH).logits
    with UsedRows(model, [TEXTS], pad_token_id=0):
        assert model.get_input_embeddings().weight.shape == (len(USED), 32)
        torch.testing.assert_close(model(**BATCH).logits, expected, rtol=0, atol=0)
    assert model.get_input_embeddings().weight.shape == (50, 32)
    torch.testing.assert_close(model(**BATCH).logits, expected, rtol=0, atol=0)


def test_training_ends_with_the_weights_of_training_the_whole_table(
    model: BertForSequenceClassification,
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def train() -> None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
        for _ in range(5):
            model(**BATCH).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    train()
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(before)
    with UsedRows(model, [TEXTS], pad_token_id=0):
        train()
    torch.testing.assert_close(model.state_dict(), expected)
    table = "bert.embeddings.word_embeddings.weight"
    moved = (model.state_dict()[table] != before[table]).any(dim=1)
    assert moved.nonzero()[:, 0].tolist() == [row for row in USED if row != 0], "0 is the padding"


def test_the_whole_table_is_back_after_an_error(model: BertForSequenceClassification) -> None:
    with pytest.raises(RuntimeError), UsedRows(model, [TEXTS], pad_token_id=0):
        raise RuntimeError
    table = model.get_input_embeddings()
    assert (table.weight.shape, table.padding_idx) == ((50, 32), 0)
    assert not table._forward_pre_hooks


def test_frozen_tables_have_no_gradient(model: BertForSequenceClassification) -> None:
    with frozen(model, freeze_embeddings=True):
        model(**BATCH).loss.backward()
    assert model.get_input_embeddings().weight.grad is None
    assert model.classifier.weight.grad is not None
    assert all(weight.requires_grad for weight in model.parameters())


def test_tables_are_frozen_wherever_an_architecture_has_them() -> None:
    shape = {"vocab_size": 50, "n_embd": 32, "n_layer": 1, "n_head": 2, "pad_token_id": 0}
    decoder = GPT2ForSequenceClassification(GPT2Config(**shape))
    with frozen(decoder, freeze_embeddings=True):
        held = [name for name, each in decoder.named_parameters() if not each.requires_grad]
    assert held == ["transformer.wte.weight", "transformer.wpe.weight"]
