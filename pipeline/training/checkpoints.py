"""Keep the checkpoints of a run, know whose they are, and choose which one to go on from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers.trainer_utils import get_last_checkpoint

from pipeline.config.schema import TrainerConfig
from pipeline.errors import PipelineError

IDENTITY_FILE = "experiment.json"  # what decides the weights, beside the folders of the phases
WEIGHTS_FILE = "model.safetensors"  # the name that transformers looks for
CHECKPOINT_PREFIX = "checkpoint-"
END_FOLDER = "end"  # of a phase, beside its checkpoints
END_FILE = "phase.json"


@dataclass(frozen=True)
class PhaseEnd:
    """What a phase that has ended left behind.

    Args:
        weights: trained FP32 weights.
        steps: optimizer steps.
        seconds: wall time in seconds.
        history: the Trainer's log entries.
    """

    weights: Mapping[str, torch.Tensor]
    steps: int
    seconds: float
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: a folder for each phase, with checkpoint-N and the phase's end.

    Args:
        folder: folder of all phases.
        resumed: whether to go on from what an earlier start left in it.
        chosen: checkpoint that was asked for; None takes the newest one.
    """

    folder: Path
    resumed: bool
    chosen: Path | None

    def last(self, phase: str) -> Path | None:
        """Return the checkpoint of a phase to go on from; None if the phase starts anew."""
        if not self.resumed:
            return None
        if self.chosen is not None:
            return self.chosen if self.chosen.parent.name == phase else None
        folder = self.folder / phase
        checkpoint = get_last_checkpoint(folder) if folder.is_dir() else None
        return Path(checkpoint) if checkpoint else None

    def end(self, phase: str) -> PhaseEnd | None:
        """Return what a phase ended with; None if it has to be trained, or trained on."""
        folder = self.folder / phase / END_FOLDER
        goes_on = self.chosen is not None and self.chosen.parent.name == phase
        if not self.resumed or goes_on or not (folder / END_FILE).is_file():
            return None
        record = json.loads((folder / END_FILE).read_text(encoding="utf-8"))
        return PhaseEnd(load_file(folder / WEIGHTS_FILE), **record)

    def write_end(self, phase: str, end: PhaseEnd) -> None:
        """Keep what a phase ended with; the file that marks it as whole is written last."""
        folder = self.folder / phase / END_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        (folder / END_FILE).unlink(missing_ok=True)
        save_weights(end.weights, folder)
        record = {"steps": end.steps, "seconds": end.seconds, "history": end.history}
        (folder / END_FILE).write_text(json.dumps(record) + "\n", encoding="utf-8")


def open_checkpoints(
    config: TrainerConfig, identity: Mapping[str, str], scratch: Path
) -> Checkpoints:
    """Find or make the folder of a run's checkpoints.

    Args:
        config: the trainer group, for output_dir and resume_from_checkpoint.
        identity: what decides the weights, by dotted key (config.identity.weights_identity); it is
            kept beside the checkpoints, so that those of other weights are refused.
        scratch: folder for a run that keeps no checkpoints.

    Raises:
        PipelineError: there is nothing to go on from, the checkpoints are of other weights, or
            output_dir is taken.
    """
    if config.resume_from_checkpoint is not None:
        return _earlier_checkpoints(config, Path(config.resume_from_checkpoint), identity)
    if config.output_dir is None:
        return Checkpoints(scratch / "checkpoints", resumed=False, chosen=None)
    folder = Path(config.output_dir)
    if (folder / IDENTITY_FILE).exists():
        raise PipelineError(
            f"trainer.output_dir={folder} holds the checkpoints of an earlier start; go on from "
            f"them with trainer.resume_from_checkpoint={folder}, or name another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    record = json.dumps(dict(identity), indent=2)
    (folder / IDENTITY_FILE).write_text(f"{record}\n", encoding="utf-8")
    return Checkpoints(folder, resumed=False, chosen=None)


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
    """Load what save_weights wrote into a model of the same shape.

    Args:
        model: model to load into.
        folder: directory that was written.

    Raises:
        PipelineError: a tensor is missing, unknown, or of another shape.
    """
    try:
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(f"the checkpoint {folder} cannot be restored: {reason}") from error


def _earlier_checkpoints(
    config: TrainerConfig, path: Path, identity: Mapping[str, str]
) -> Checkpoints:
    chosen = path if path.name.startswith(CHECKPOINT_PREFIX) else None
    folder = path if chosen is None else path.parent.parent
    _check_identity(folder, path, identity)
    if config.output_dir is not None and Path(config.output_dir).resolve() != folder.resolve():
        raise PipelineError(
            f"trainer.output_dir={config.output_dir} is not the folder of "
            f"trainer.resume_from_checkpoint={path}; leave it out."
        )
    return Checkpoints(folder, resumed=True, chosen=chosen)


def _check_identity(folder: Path, path: Path, identity: Mapping[str, str]) -> None:
    file = folder / IDENTITY_FILE
    if not path.is_dir() or not file.is_file():
        raise PipelineError(
            f"trainer.resume_from_checkpoint={path} holds no checkpoints of a run; it takes the "
            "trainer.output_dir of an earlier start, or a checkpoint-N in it."
        )
    earlier = json.loads(file.read_text(encoding="utf-8"))
    keys = sorted(earlier.keys() | identity.keys())
    differing = [key for key in keys if earlier.get(key) != identity.get(key)]
    if differing:
        key = differing[0]
        more = f", and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise PipelineError(
            f"trainer.resume_from_checkpoint={path} was trained with other settings: there "
            f"{key}={earlier.get(key)}, here {identity.get(key)}{more}."
        )
