from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.config.schema import LossConfig
from pipeline.training.learning import (
    STEPS_FROM_SCRATCH,
    LearningWatch,
    NothingLearnedError,
)
from pipeline.training.loss import loss_function

LABELS = np.array([0] * 30 + [1] * 10)
CONSTANT = torch.log(torch.tensor([0.75, 0.25])).expand(40, 2)


def train(watch: LearningWatch, logits: list[torch.Tensor], labels: np.ndarray = LABELS) -> None:
    """Compute the loss of one batch a step, as the Trainer does."""
    for step, each in enumerate(logits):
        watch(each, torch.tensor(labels))
        state = SimpleNamespace(global_step=step + 1, max_steps=len(logits))
        watch.on_step_end(None, state, None)


def watching(**options: object) -> LearningWatch:
    loss = loss_function(LossConfig(**options), LABELS, 2, 0.0)
    return LearningWatch(loss, LABELS, 2)


def test_a_constant_answer_ends_the_phase_in_its_first_tenth_or_hundred_steps() -> None:
    with pytest.raises(NothingLearnedError, match=r"0\.5623 for a constant answer") as caught:
        train(watching(), [CONSTANT] * 400)
    assert caught.value.steps == 100


def test_a_phase_that_forgets_is_found_too() -> None:
    right = torch.nn.functional.one_hot(torch.tensor(LABELS)).float()
    with pytest.raises(NothingLearnedError) as caught:
        train(watching(), [right] * 150 + [CONSTANT] * 250)
    assert caught.value.steps == 200


@pytest.mark.parametrize("options", [{}, {"class_weights": "balanced"}, {"focal_gamma": 2.0}])
def test_what_is_a_little_better_than_a_constant_answer_goes_on(options: dict[str, object]) -> None:
    hint = torch.nn.functional.one_hot(torch.tensor(LABELS)).float() * 0.2
    train(watching(**options), [CONSTANT * (not options) + hint] * 400)


def test_a_constant_answer_is_found_where_the_loss_weighs_the_classes() -> None:
    with pytest.raises(NothingLearnedError):
        train(watching(class_weights="balanced"), [torch.zeros(40, 2)] * 400)


def test_a_short_phase_is_left_alone() -> None:
    train(watching(), [CONSTANT] * 190)


def test_a_phase_with_few_texts_of_the_rare_class_is_given_time_to_begin() -> None:
    labels = np.array([0] * 39 + [1])
    loss = loss_function(LossConfig(), labels, 2, 0.0)
    slow = torch.log(torch.tensor([0.9, 0.1])).expand(40, 2)  # far above a constant answer
    right = torch.nn.functional.one_hot(torch.tensor(labels)).float() * 10
    train(LearningWatch(loss, labels, 2), [slow] * 250 + [right] * 750, labels)
    with pytest.raises(NothingLearnedError) as caught:
        train(LearningWatch(loss, labels, 2), [slow] * 1000, labels)
    assert caught.value.steps == 300


def test_random_weights_are_given_time_to_begin() -> None:
    loss = loss_function(LossConfig(), LABELS, 2, 0.0)
    right = torch.nn.functional.one_hot(torch.tensor(LABELS)).float()
    slow = [CONSTANT] * 450 + [right] * 1550
    with pytest.raises(NothingLearnedError):
        train(watching(), slow)
    train(LearningWatch(loss, LABELS, 2, STEPS_FROM_SCRATCH), slow)
    with pytest.raises(NothingLearnedError) as caught:
        train(LearningWatch(loss, LABELS, 2, STEPS_FROM_SCRATCH), [CONSTANT] * 2000)
    assert caught.value.steps == 600
