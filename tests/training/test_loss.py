import pytest
import torch
from torch.nn import functional

from pipeline.config.schema import LossConfig
from pipeline.training.loss import loss_function

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-1.0, 1.0, 0.0]])
TARGETS = torch.tensor([0, 2, 1])


def test_the_default_is_cross_entropy_with_the_trainers_smoothing() -> None:
    found = loss_function(LossConfig(), [0, 1, 2], 3, 0.1)(LOGITS, TARGETS)
    assert found == functional.cross_entropy(LOGITS, TARGETS, label_smoothing=0.1)


def test_balanced_weights_are_the_inverse_of_the_frequencies() -> None:
    found = loss_function(LossConfig(class_weights="balanced"), [0] * 6 + [1] * 3 + [2], 3, 0.0)(
        LOGITS, TARGETS
    )
    weights = torch.tensor([10 / 18, 10 / 9, 10 / 3])
    assert found == functional.cross_entropy(LOGITS, TARGETS, weights)


def test_focal_loss_counts_what_is_sure_less() -> None:
    focal = loss_function(LossConfig(focal_gamma=2.0), [0, 1, 2], 3, 0.0)
    p = functional.softmax(LOGITS, -1)[torch.arange(3), TARGETS]
    torch.testing.assert_close(focal(LOGITS, TARGETS), (-((1 - p) ** 2) * p.log()).mean())
    nearly_none = loss_function(LossConfig(focal_gamma=1e-9), [0, 1, 2], 3, 0.0)(LOGITS, TARGETS)
    assert nearly_none.item() == pytest.approx(
        functional.cross_entropy(LOGITS, TARGETS).item(), rel=1e-6
    )
