"""Tell a phase that learns nothing, so that it can be started again with another rate.

An encoder that was trained with too high a rate gives all texts one representation, and its
classifier the frequencies of the classes. No later step mends that: the loss stays that of a
constant answer.
"""

import math
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from pipeline.training.loss import Loss

CHECKS = 10  # in a phase, at equal distances; those of its first half count
SHORTEST_INTERVAL = 100  # steps: the warm-up of a short phase has no lesson
# Random weights give all texts nearly one representation at first: a BERT-tiny shape began to learn
# after 200 to 300 steps, whatever its rate.
STEPS_FROM_SCRATCH = 500
# A MiniLM began to learn whether both texts of a pair have one number in them after 125 to 250
# steps. What is given up for that starts again, and is not to be given up once more.
STEPS_OF_RESTART = 300
# Of other classes than the most frequent one. With 99 in 100 texts of one class, the loss of a
# constant answer is next to nothing, and a phase that learns comes down to it late.
RARE_TEXTS = 300
# Of a constant answer's loss: a phase above it has learned nothing. One that learns, if slowly, is
# below; one that gives all texts one answer follows the last batches, and is above.
NOTHING_LEARNED = 0.999


class NothingLearnedError(Exception):
    """End a phase that has learned nothing.

    Args:
        steps: optimizer steps that it has done.
        loss: its mean training loss in the last of these.
        constant: that of the best constant answer.
    """

    def __init__(self, steps: int, loss: float, constant: float) -> None:
        super().__init__(f"training loss {loss:.4f}, and {constant:.4f} for a constant answer")
        self.steps = steps


class LearningWatch(TrainerCallback):
    """Compute the loss, and compare it with that of a constant answer to the same texts.

    The constant answers are the frequencies of the classes, and equal probabilities (the better one
    where the loss weighs the classes).

    Args:
        loss: function that training minimizes.
        labels: label ids of train (rows,).
        num_labels: number of classes.
        grace_steps: steps before the phase is looked at.
    """

    def __init__(
        self, loss: Loss, labels: np.ndarray, num_labels: int, grace_steps: int = 0
    ) -> None:
        self._loss = loss
        self._grace_steps = grace_steps
        counts = np.bincount(labels, minlength=num_labels)
        frequencies = torch.tensor(np.maximum(counts, 1) / len(labels), dtype=torch.float32)
        self._answers = (frequencies.log(), torch.zeros(num_labels))
        self._most_frequent = int(counts.argmax())
        self._rare_texts = 0
        self._is_over = False
        self._losses: list[float] = []
        self._constants: list[list[float]] = []

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch.

        Args:
            logits: (batch, num_labels).
            labels: label ids (batch,).
        """
        loss = self._loss(logits, labels)
        if self._is_over:
            return loss
        with torch.no_grad():
            self._rare_texts += int((labels != self._most_frequent).sum())
            self._losses.append(loss.item())
            self._constants.append(
                [self._loss(answer.expand_as(logits), labels).item() for answer in self._answers]
            )
        return loss

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look at the second half of each tenth of the phase, up to its middle.

        Not before it has seen RARE_TEXTS texts of other classes than the most frequent one.

        Raises:
            NothingLearnedError: the loss in it is that of a constant answer.
        """
        interval = max(math.ceil(state.max_steps / CHECKS), SHORTEST_INTERVAL)
        self._is_over = state.global_step > state.max_steps / 2
        place = state.global_step % interval
        if place == interval // 2:
            self._losses, self._constants = [], []
        is_early = state.global_step < self._grace_steps or self._rare_texts < RARE_TEXTS
        if place or is_early or self._is_over or not self._losses:
            return
        loss = float(np.mean(self._losses))
        constant = float(np.mean(self._constants, axis=0).min())
        if loss > NOTHING_LEARNED * constant:
            raise NothingLearnedError(state.global_step, loss, constant)
