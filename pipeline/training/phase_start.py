"""Keep a quantizing phase's start: the weights of the phase before as they are rounded."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.training.checkpoint_files import save_weights, write_json

START = "start"  # folder beside the checkpoints, which the Trainer does not tidy up
FIGURES_FILE = "figures.json"


def save_start(model: torch.nn.Module, figures: Mapping[str, float], folder: Path) -> None:
    """Write the weights, with the ranges of fake-quantization, and what they are worth.

    Args:
        model: model before the phase's first step.
        figures: accuracy, f1_macro and loss on the validation split.
        folder: folder of the phase.
    """
    save_weights(model.state_dict(), folder / START)
    write_json(folder / START / FIGURES_FILE, dict(figures))  # last: it says that all is there


def read_start(folder: Path) -> dict[str, float] | None:
    """Read what a phase's start is worth.

    Args:
        folder: folder of the phase.

    Returns:
        The figures that save_start wrote; None if the start was not kept whole.
    """
    try:
        text = (folder / START / FIGURES_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    figures: dict[str, float] = json.loads(text)
    return figures
