"""Choose how long and how fast a run trains, where its config does not say.

docs/train.md says what the numbers were measured on.
"""

import math
from dataclasses import dataclass

from transformers import PreTrainedModel

from pipeline.models.load import is_pretrained

# Epochs of a fine-tuning on 1,000 texts: so many, and so many more for each bit of a label; they
# fall with this power of the number of texts.
EPOCHS = 6.0
EPOCHS_PER_BIT = 2.9
POWER = 0.4
FEWEST_EPOCHS, MOST_EPOCHS = 1, 30
# Peak learning rate of an encoder with two layers, up to this width; wider and deeper ones are
# trained more slowly.
LEARNING_RATE = 3e-4
FROM_SCRATCH = 3.0  # times as fast, where nothing that is known can be lost
WIDTH = 384
DEPTH = 2


@dataclass(frozen=True)
class Task:
    """What the length and the rate of training follow.

    Args:
        train_rows: texts of the training split.
        num_labels: classes.
        hidden_size: width of the encoder.
        num_hidden_layers: its layers.
        is_pretrained: whether its weights were trained before.
        transfer_rows: texts of train_rows that are put together from others: they say nothing new,
            so that training on them is no shorter.
    """

    train_rows: int
    num_labels: int
    hidden_size: int
    num_hidden_layers: int
    is_pretrained: bool = True
    transfer_rows: int = 0


def task_of(model: PreTrainedModel, train_rows: int, transfer_rows: int = 0) -> Task:
    """Describe a task.

    Args:
        model: the classifier that is trained.
        train_rows: texts of the training split.
        transfer_rows: those of them that are put together from others.
    """
    config = model.config
    return Task(
        train_rows,
        config.num_labels,
        config.hidden_size,
        config.num_hidden_layers,
        is_pretrained(model),
        transfer_rows,
    )


def default_epochs(task: Task) -> int:
    """Return the number of epochs of a fine-tuning.

    Args:
        task: number of texts, without those that are put together from others, and of classes.
    """
    of_a_thousand = EPOCHS + EPOCHS_PER_BIT * math.log2(task.num_labels)
    thousands = (task.train_rows - task.transfer_rows) / 1000
    epochs = round(of_a_thousand / thousands**POWER)
    return min(max(epochs, FEWEST_EPOCHS), MOST_EPOCHS)


def default_learning_rate(task: Task) -> float:
    """Return the peak learning rate of a fine-tuning.

    Args:
        task: width and depth of the encoder, and whether it was trained before.
    """
    width = min(WIDTH / task.hidden_size, 1.0)
    depth = max(task.num_hidden_layers, DEPTH) / DEPTH
    start = 1.0 if task.is_pretrained else FROM_SCRATCH
    return LEARNING_RATE * width**2 / math.sqrt(depth) * start
