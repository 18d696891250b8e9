"""Turn a recipe into training phases, each with its trainer, quantization and pruning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from neural_compressor import QuantizationAwareTrainingConfig, WeightPruningConfig

from pipeline.compression.inc_configs import qat_config
from pipeline.compression.weight_pruning import growing_config, keeping_config
from pipeline.config.schema import Config, PhaseConfig, QatConfig, TrainerConfig
from pipeline.training.schedule import Task, default_epochs, default_learning_rate

PHASE_OPTIONS = ("num_train_epochs", "learning_rate")  # that a phase takes over the trainer group


@dataclass(frozen=True)
class Phase:
    """One call of INCTrainer.train().

    Args:
        name: name of the phase, as in qat.phases.
        trainer: TrainingArguments of this phase, with a length and a learning rate.
        config: what is frozen in this phase.
        recipe: the qat group: how the phase quantizes, if it does.
        quantization: fake-quantize while training and convert to INT8 at the end; None trains in
            FP32.
        pruning: prune while training, or keep what is pruned; None leaves the weights alone.
    """

    name: str
    trainer: TrainerConfig
    config: PhaseConfig
    recipe: QatConfig
    quantization: QuantizationAwareTrainingConfig | None
    pruning: WeightPruningConfig | None

    def scaled(self, factor: float) -> "Phase":
        """Return the phase at a factor of its learning rate."""
        rate = self.trainer.learning_rate
        scaled = None if rate is None else rate * factor
        return replace(self, trainer=replace(self.trainer, learning_rate=scaled))


def phases(config: Config, fp32_modules: Sequence[str], task: Task) -> tuple[Phase, ...]:
    """List the recipe's phases, each with its length and learning rate over the trainer group's.

    Args:
        config: resolved config: the recipe, the trainer that all phases share, and pruning.
        fp32_modules: names of the modules that stay in FP32.
        task: what length and learning rate follow where the config does not give them.
    """
    listed: list[Phase] = []
    for name, phase in config.qat.phases.items():
        trainer = _trainer_of(phase, scheduled(config.trainer, task))
        quantization = qat_config(config.qat, fp32_modules) if phase.quantize else None
        pruning = None
        if config.pruning is not None and not listed:
            pruning = growing_config(config.pruning, optimizer_steps(trainer, task.train_rows))
        elif config.pruning is not None:
            pruning = keeping_config(config.pruning)
        listed.append(Phase(name, trainer, phase, config.qat, quantization, pruning))
    return tuple(listed)


def scheduled(trainer: TrainerConfig, task: Task) -> TrainerConfig:
    """Give a trainer group its length and learning rate, where it has none.

    Args:
        trainer: the trainer group.
        task: what they follow.
    """
    epochs, rate = trainer.num_train_epochs, trainer.learning_rate
    return replace(
        trainer,
        num_train_epochs=default_epochs(task) if epochs is None else epochs,
        learning_rate=default_learning_rate(task) if rate is None else rate,
    )


def _trainer_of(phase: PhaseConfig, trainer: TrainerConfig) -> TrainerConfig:
    own = {}
    for key in PHASE_OPTIONS:
        given, factor = getattr(phase, key), getattr(phase, f"{key}_factor")
        own[key] = getattr(trainer, key) * factor if given is None else given
    if trainer.max_steps > 0:
        own["max_steps"] = math.ceil(trainer.max_steps * phase.num_train_epochs_factor)
    return replace(trainer, **own)


def optimizer_steps(trainer: TrainerConfig, train_rows: int) -> int:
    """Count the optimizer steps of a phase, as the Trainer does.

    Args:
        trainer: TrainingArguments of the phase, which has a length.
        train_rows: rows of the training split.
    """
    if trainer.max_steps > 0 or trainer.num_train_epochs is None:
        return trainer.max_steps
    batches = math.ceil(train_rows / trainer.per_device_train_batch_size)
    return math.ceil(
        math.ceil(batches / trainer.gradient_accumulation_steps) * trainer.num_train_epochs
    )
