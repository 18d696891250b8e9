"""Build the function that training minimizes from the loss group."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from pipeline.config.schema import LossConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits (batch, num_labels) and label ids (batch,) to the batch's mean loss."""


def hidden_state_distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Compute the mean squared distance of normalized hidden states.

    Args:
        student: hidden states, (batch, hidden).
        teacher: those of the teacher on the same texts, (batch, hidden).
    """
    first, second = (functional.layer_norm(each, each.shape[-1:]) for each in (student, teacher))
    return functional.mse_loss(first, second)


def loss_function(
    config: LossConfig, labels: np.ndarray, num_labels: int, label_smoothing: float
) -> Loss:
    """Build the loss.

    Args:
        config: the loss group.
        labels: label ids of train (rows,), for the frequencies of the classes.
        num_labels: number of classes.
        label_smoothing: share of the target that is spread over all classes.
    """
    weights = None
    if config.class_weights == "balanced":
        counts = np.bincount(labels, minlength=num_labels)
        # sklearn.utils.class_weight's "balanced"; a class that train lacks never needs its weight.
        frequencies = num_labels * np.maximum(counts, 1)
        weights = torch.tensor(len(labels) / frequencies, dtype=torch.float32)

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if not config.focal_gamma:
            return functional.cross_entropy(
                logits, targets, weights, label_smoothing=label_smoothing
            )
        log_p = functional.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]
        weight = torch.ones_like(log_p) if weights is None else weights[targets]
        return -(weight * (1 - log_p.exp()) ** config.focal_gamma * log_p).sum() / weight.sum()

    return loss
