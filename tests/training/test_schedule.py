import pytest
import torch

from pipeline.training.schedule import Task, default_epochs, default_learning_rate, task_of
from tests.conftest import micro_bert


@pytest.mark.parametrize(
    ("train_rows", "num_labels", "epochs"),
    [(20, 2, 30), (500, 2, 12), (2_000, 2, 7), (10_000, 2, 4), (60_000, 2, 2), (10**6, 2, 1)],
)
def test_few_texts_are_seen_more_often(train_rows: int, num_labels: int, epochs: int) -> None:
    assert default_epochs(Task(train_rows, num_labels, 384, 2)) == epochs


def test_texts_that_are_put_together_from_others_make_training_no_shorter() -> None:
    model = micro_bert()
    alone, with_transfer = task_of(model, 10_000), task_of(model, 30_000, transfer_rows=20_000)
    assert (
        default_epochs(with_transfer)
        == default_epochs(alone)
        > default_epochs(task_of(model, 30_000))
    )


def test_many_classes_are_trained_for_longer() -> None:
    few, many = (default_epochs(Task(15_000, labels, 384, 2)) for labels in (2, 150))
    assert few < many


@pytest.mark.parametrize(
    ("hidden_size", "num_hidden_layers", "expected"),
    [(384, 2, 3e-4), (128, 2, 3e-4), (384, 1, 3e-4), (384, 8, 1.5e-4), (768, 2, 7.5e-5)],
)
def test_wide_and_deep_encoders_are_trained_more_slowly(
    hidden_size: int, num_hidden_layers: int, expected: float
) -> None:
    task = Task(1000, 2, hidden_size, num_hidden_layers)
    assert default_learning_rate(task) == pytest.approx(expected)


def test_an_encoder_with_random_weights_is_trained_faster() -> None:
    model = micro_bert()
    drawn = task_of(model, 1000)
    with torch.no_grad():
        model.base_model.embeddings.LayerNorm.weight[0] += 1e-3
    trained = task_of(model, 1000)
    assert (drawn.is_pretrained, trained.is_pretrained) == (False, True)
    assert default_learning_rate(drawn) == 3 * default_learning_rate(trained)
