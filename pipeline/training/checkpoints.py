"""The checkpoints of a run: whose they are, where they lie, and which one to go on from."""

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

EXPERIMENT_FILE = "experiment.json"
WEIGHTS_FILE = "model.safetensors"  # the name that transformers looks for
END = "end"  # of a phase: a folder beside its checkpoints
END_FILE = "phase.json"


@dataclass(frozen=True)
class PhaseEnd:
    """What a phase that has ended left behind.

    Args:
        state: the trained FP32 weights.
        steps: optimizer steps done.
        seconds: wall time.
        history: the Trainer's log entries.
    """

    state: Mapping[str, torch.Tensor]
    steps: int
    seconds: float
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one experiment: a folder for each phase, with checkpoint-N and, when it has ended, its end.

    Args:
        folder: of all phases.
        resumed: whether an earlier start left something in it to go on from.
        chosen: the checkpoint that was asked for; None takes the newest one.
    """

    folder: Path
    resumed: bool
    chosen: Path | None

    def last(self, phase: str) -> Path | None:
        """Return the checkpoint of a phase to go on from; None if it starts anew."""
        if not self.resumed:
            return None
        if self.chosen is not None:
            return self.chosen if self.chosen.parent.name == phase else None
        found = get_last_checkpoint(self.folder / phase) if (self.folder / phase).is_dir() else None
        return Path(found) if found else None

    def end(self, phase: str) -> PhaseEnd | None:
        """Return what a phase ended with; None if it has to be trained, or trained on from a chosen checkpoint."""
        folder = self.folder / phase / END
        chosen_here = self.chosen is not None and self.chosen.parent.name == phase
        if not self.resumed or chosen_here or not (folder / END_FILE).is_file():
            return None
        told = json.loads((folder / END_FILE).read_text(encoding="utf-8"))
        return PhaseEnd(load_file(folder / WEIGHTS_FILE), **told)

    def write_end(self, phase: str, ended: PhaseEnd) -> None:
        """Keep what a phase ended with; the file that says so is written last."""
        folder = self.folder / phase / END
        folder.mkdir(parents=True, exist_ok=True)
        (folder / END_FILE).unlink(missing_ok=True)
        save_weights(ended.state, folder)
        told = {"steps": ended.steps, "seconds": ended.seconds, "history": ended.history}
        (folder / END_FILE).write_text(json.dumps(told) + "\n", encoding="utf-8")


def open_checkpoints(
    config: TrainerConfig, experiment: Mapping[str, str], scratch: Path
) -> Checkpoints:
    """Find or make the folder of a run's checkpoints.

    Args:
        config: for output_dir and resume_from_checkpoint.
        experiment: what decides the weights, by dotted key; kept beside the checkpoints, so that they are known again.
        scratch: for a run that keeps none.

    Raises:
        PipelineError: there is nothing to go on from, it is another experiment's, or output_dir is taken.
    """
    if config.resume_from_checkpoint is not None:
        given = Path(config.resume_from_checkpoint)
        chosen = given if given.name.startswith("checkpoint-") else None
        folder = given.parent.parent if chosen is not None else given
        _check_same(folder, given, experiment)
        if config.output_dir is not None and Path(config.output_dir).resolve() != folder.resolve():
            raise PipelineError(
                f"trainer.output_dir={config.output_dir} is not where trainer.resume_from_checkpoint={given} lies; "
                "leave it out."
            )
        return Checkpoints(folder, resumed=True, chosen=chosen)
    if config.output_dir is None:
        return Checkpoints(scratch / "checkpoints", resumed=False, chosen=None)
    folder = Path(config.output_dir)
    if (folder / EXPERIMENT_FILE).exists():
        raise PipelineError(
            f"trainer.output_dir={folder} holds the checkpoints of an earlier start; go on from them with "
            f"trainer.resume_from_checkpoint={folder}, or name another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EXPERIMENT_FILE).write_text(
        json.dumps(dict(experiment), indent=2) + "\n", encoding="utf-8"
    )
    return Checkpoints(folder, resumed=False, chosen=None)


def save_weights(state: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write weights, fake-quantization's state included, without a pickle."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.detach().clone().contiguous() for name, value in state.items()},
        folder / WEIGHTS_FILE,
    )


def restore_weights(model: torch.nn.Module, folder: Path) -> None:
    """Load what save_weights wrote into a model of the same shape.

    Raises:
        PipelineError: a tensor is missing, unknown, or of another shape.
    """
    try:
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PipelineError(
            f"the checkpoint {folder} cannot be restored: {str(error).splitlines()[0]}"
        ) from error


def _check_same(folder: Path, given: Path, experiment: Mapping[str, str]) -> None:
    file = folder / EXPERIMENT_FILE
    if not given.is_dir() or not file.is_file():
        raise PipelineError(
            f"trainer.resume_from_checkpoint={given} holds no checkpoints of a run; it takes the trainer.output_dir of an "
            "earlier start, or a checkpoint-N in it."
        )
    before = json.loads(file.read_text(encoding="utf-8"))
    differing = sorted(
        key for key in before.keys() | experiment.keys() if before.get(key) != experiment.get(key)
    )
    if differing:
        key, more = differing[0], f", and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise PipelineError(
            f"trainer.resume_from_checkpoint={given} is of another experiment: there {key}={before.get(key)}, "
            f"here {experiment.get(key)}{more}."
        )
