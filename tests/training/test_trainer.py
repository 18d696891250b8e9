from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from pipeline.evaluation.metrics import TEACHER_HIDDEN_STATE
from pipeline.training.loss import hidden_state_distance
from pipeline.training.trainer import LossComputation, PhaseTrainer
from tests.conftest import micro_bert

IDS = torch.tensor([[2, 7, 9], [2, 8, 3]])
LABELS = torch.tensor([0, 2])
WEIGHT = 0.25


@pytest.mark.parametrize("training", [True, False])
def test_the_distance_to_the_teacher_s_hidden_state_is_a_part_of_the_loss_in_training_alone(
    training: bool,
) -> None:
    model = micro_bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train(training)
    teacher = torch.linspace(-1, 2, 64).view(2, 32).cos()
    trainer = SimpleNamespace(_computation=LossComputation(functional.cross_entropy, WEIGHT, False))
    inputs = {"input_ids": IDS, "labels": LABELS, TEACHER_HIDDEN_STATE: teacher}
    loss = PhaseTrainer.compute_loss(trainer, model, inputs)
    outputs = model(IDS, output_hidden_states=True)
    distance = hidden_state_distance(outputs.hidden_states[-1][:, 0], teacher)
    assert distance > 0.1
    share = WEIGHT * distance if training else 0.0
    torch.testing.assert_close(loss, functional.cross_entropy(outputs.logits, LABELS) + share)
