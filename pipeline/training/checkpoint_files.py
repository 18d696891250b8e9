"""Write and read what a checkpoint holds, without pickled weights, and tell if it is whole."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME

from pipeline.errors import PipelineError

WEIGHTS_FILE = "model.safetensors"  # the name that transformers looks for
UNLOGGED_FILE = "unlogged_loss.json"
RNG_FILE = "rng_state.pth"
ARCHIVES = (OPTIMIZER_NAME, SCHEDULER_NAME, RNG_FILE)  # zip files, as torch.save writes them


@dataclass(frozen=True)
class UnloggedLoss:
    """The training loss since the last point of its curve.

    transformers 4.57 does not save it, so that the first point after a resume would be the mean of
    the steps since the checkpoint alone.

    Args:
        total: sum of the loss over the steps since that point.
        last_logged_step: step of that point; 0 before the first.
    """

    total: float
    last_logged_step: int


def damage(checkpoint: Path) -> str | None:
    """Say what a checkpoint lacks that was not written whole; None if it is whole.

    Args:
        checkpoint: folder that the Trainer wrote, or is writing.
    """
    for name in (WEIGHTS_FILE, *ARCHIVES, TRAINER_STATE_NAME):
        if not (checkpoint / name).is_file():
            return f"it has no {name}"
    for name in ARCHIVES:  # their directory is at the end
        if not zipfile.is_zipfile(checkpoint / name):
            return f"{name} is cut off"
    try:
        with safe_open(checkpoint / WEIGHTS_FILE, framework="pt"):
            pass
    except SafetensorError:
        return f"{WEIGHTS_FILE} is cut off"
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except ValueError:
        return f"{TRAINER_STATE_NAME} is cut off"
    return None


def save_weights(weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write weights, with the state of fake-quantization, without a pickle.

    Args:
        weights: state dict of a model.
        folder: directory to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copies = {name: value.detach().clone().contiguous() for name, value in weights.items()}
    save_file(copies, folder / WEIGHTS_FILE)


def restore_weights(model: torch.nn.Module, folder: Path) -> None:
    """Load what save_weights wrote into a model of the same shape, and compare every value.

    Args:
        model: model to load into.
        folder: directory that was written.

    Raises:
        PipelineError: a tensor is missing, unknown, of another shape, or not what the model holds
            afterwards.
    """
    try:
        saved = load_file(folder / WEIGHTS_FILE)
        model.load_state_dict(saved)
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(f"the checkpoint {folder} cannot be restored: {reason}") from error
    # Modules of fake-quantization load their state in ways of their own.
    for name, value in model.state_dict().items():
        if not torch.equal(value, saved[name]):
            raise PipelineError(
                f"the checkpoint {folder} cannot be restored: {name} has other values in the model."
            )


def save_unlogged_loss(loss: UnloggedLoss, folder: Path) -> None:
    """Write the loss since the last point of its curve into a checkpoint."""
    write_json(folder / UNLOGGED_FILE, asdict(loss))


def read_unlogged_loss(folder: Path) -> UnloggedLoss | None:
    """Read what save_unlogged_loss wrote; None from a checkpoint of version 0.1.0."""
    file = folder / UNLOGGED_FILE
    if not file.is_file():
        return None
    return UnloggedLoss(**json.loads(file.read_text(encoding="utf-8")))


def write_json(file: Path, value: Any) -> None:
    """Write a JSON file that is there whole or not at all, whenever the process is killed."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    part.replace(file)
