"""Keep the checkpoints of a run, know whose they are, and choose which one to go on from."""

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline.config.identity import config_hash
from pipeline.config.schema import Config, TrainerConfig
from pipeline.errors import PipelineError
from pipeline.training.checkpoint_files import WEIGHTS_FILE, damage, save_weights, write_json

IDENTITY_FILE = "experiment.json"  # what decides the weights, beside the folders of the phases
LOCK_FILE = ".lock"
CHECKPOINT_PREFIX = "checkpoint-"
END_FOLDER = "end"  # of a phase, beside its checkpoints
END_FILE = "phase.json"
GIVEN_UP_FILE = "given_up.json"  # in the folder of a phase: the steps of each attempt
log = logging.getLogger(__name__)


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
        """Return the checkpoint of a phase to go on from; None if the phase starts anew.

        Of a run that was killed while it wrote one, that is the newest one that is whole.
        """
        if not self.resumed:
            return None
        if self.chosen is not None:
            return self.chosen if self.chosen.parent.name == phase else None
        for checkpoint in _newest_first(self.folder / phase):
            reason = damage(checkpoint)
            if reason is None:
                return checkpoint
            log.warning("phase %s: %s was not written whole: %s", phase, checkpoint.name, reason)
        return None

    def end(self, phase: str) -> PhaseEnd | None:
        """Return what a phase ended with; None if it has to be trained, or trained on."""
        folder = self.folder / phase / END_FOLDER
        goes_on = self.chosen is not None and self.chosen.parent.name == phase
        if not self.resumed or goes_on or not (folder / END_FILE).is_file():
            return None
        try:
            record = json.loads((folder / END_FILE).read_text(encoding="utf-8"))
            return PhaseEnd(load_file(folder / WEIGHTS_FILE), **record)
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            log.warning("phase %s: its end cannot be read: %s", phase, reason)
            return None

    def write_end(self, phase: str, end: PhaseEnd) -> None:
        """Keep what a phase ended with; the file that marks it as whole is written last."""
        folder = self.folder / phase / END_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        (folder / END_FILE).unlink(missing_ok=True)
        save_weights(end.weights, folder)
        record = {"steps": end.steps, "seconds": end.seconds, "history": end.history}
        write_json(folder / END_FILE, record)

    def given_up(self, phase: str) -> tuple[int, ...]:
        """Return the optimizer steps of each attempt at a phase that has learned nothing."""
        file = self.folder / phase / GIVEN_UP_FILE
        return tuple(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else ()

    def give_up(self, phase: str, steps: Sequence[int]) -> None:
        """Remove the checkpoints of an attempt that has learned nothing.

        Args:
            phase: name of the phase.
            steps: optimizer steps of each such attempt.
        """
        folder = self.folder / phase
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / GIVEN_UP_FILE, list(steps))
        for checkpoint in _newest_first(folder):
            shutil.rmtree(checkpoint)


@contextlib.contextmanager
def open_checkpoints(
    config: Config, identity: Mapping[str, str], scratch: Path
) -> Iterator[Checkpoints]:
    """Find or make the folder of a run's checkpoints, and keep other runs out of it.

    A job of a sweep has a folder of its own under trainer.output_dir, and goes on from what an
    earlier start of the same sweep left there.

    Args:
        config: resolved config of the run.
        identity: what decides the weights, by dotted key (config.identity.weights_identity); it is
            kept beside the checkpoints, so that those of other weights are refused.
        scratch: folder for a run that keeps no checkpoints.

    Yields:
        The checkpoints.

    Raises:
        PipelineError: there is nothing to go on from, the checkpoints are of other weights or not
            whole, or output_dir is taken.
    """
    trainer = config.trainer
    if trainer.resume_from_checkpoint is not None:
        checkpoints = _earlier_checkpoints(trainer, Path(trainer.resume_from_checkpoint), identity)
        with _locked(checkpoints.folder):
            yield checkpoints
    elif trainer.output_dir is None:
        yield Checkpoints(scratch / "checkpoints", resumed=False, chosen=None)
    else:
        folder = Path(trainer.output_dir)
        if config.sweep.parent_run_id is not None:
            folder = folder / config.sweep.parent_run_id / _job_folder(config, identity)
        with _locked(folder):
            yield _kept_checkpoints(config, folder, identity)


def _kept_checkpoints(config: Config, folder: Path, identity: Mapping[str, str]) -> Checkpoints:
    """Begin a folder; a job of a sweep goes on in one that it began."""
    begun = (folder / IDENTITY_FILE).exists()
    if begun and config.sweep.parent_run_id is None:
        raise PipelineError(
            f"trainer.output_dir={folder} holds the checkpoints of an earlier start; go on from "
            f"them with trainer.resume_from_checkpoint={folder}, or name another folder."
        )
    write_json(folder / IDENTITY_FILE, dict(identity))
    # Neural Compressor 3.7 does not save a pruner's scores, so that pruning begins anew.
    return Checkpoints(folder, resumed=begun and config.pruning is None, chosen=None)


def _job_folder(config: Config, identity: Mapping[str, str]) -> str:
    """Name a job's folder by its config, and by what decides its weights besides: the texts."""
    digits = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()[:8]
    return f"{config_hash(config)}-{digits}"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a folder to one run at a time."""
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise PipelineError(
            f"another run keeps its checkpoints in {folder} just now; wait for it, or name "
            "another trainer.output_dir."
        ) from error
    except OSError as error:
        raise PipelineError(
            f"checkpoints cannot be kept in {folder}: {error.strerror}; name another "
            "trainer.output_dir."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _newest_first(folder: Path) -> list[Path]:
    """List the checkpoints of a phase."""
    steps = {
        int(path.name.removeprefix(CHECKPOINT_PREFIX)): path
        for path in folder.glob(f"{CHECKPOINT_PREFIX}*")
        if path.name.removeprefix(CHECKPOINT_PREFIX).isdigit()
    }
    return [steps[step] for step in sorted(steps, reverse=True)]


def _earlier_checkpoints(
    config: TrainerConfig, path: Path, identity: Mapping[str, str]
) -> Checkpoints:
    chosen = path if path.name.startswith(CHECKPOINT_PREFIX) else None
    folder = path if chosen is None else path.parent.parent
    _check_identity(folder, path, identity)
    if chosen is not None and (reason := damage(chosen)):
        raise PipelineError(
            f"trainer.resume_from_checkpoint={path} was not written whole: {reason}; "
            f"trainer.resume_from_checkpoint={folder} takes the newest one that was."
        )
    if config.output_dir is not None and Path(config.output_dir).resolve() != folder.resolve():
        raise PipelineError(
            f"trainer.output_dir={config.output_dir} is not the folder of "
            f"trainer.resume_from_checkpoint={path}; leave it out."
        )
    return Checkpoints(folder, resumed=True, chosen=chosen)


def _check_identity(folder: Path, path: Path, identity: Mapping[str, str]) -> None:
    file = folder / IDENTITY_FILE
    try:
        earlier = json.loads(file.read_text(encoding="utf-8")) if path.is_dir() else None
    except (OSError, ValueError):
        earlier = None
    if earlier is None:
        raise PipelineError(
            f"trainer.resume_from_checkpoint={path} holds no checkpoints of a run; it takes the "
            "trainer.output_dir of an earlier start, or a checkpoint-N in it."
        )
    keys = sorted(earlier.keys() | identity.keys())
    differing = [key for key in keys if earlier.get(key) != identity.get(key)]
    if differing:
        key = differing[0]
        more = f", and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise PipelineError(
            f"trainer.resume_from_checkpoint={path} was trained with other settings: there "
            f"{key}={earlier.get(key)}, here {identity.get(key)}{more}."
        )
