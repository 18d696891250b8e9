"""QatConfig to training phases and Neural Compressor's configs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from neural_compressor import (
    PostTrainingQuantConfig,
    QuantizationAwareTrainingConfig,
    WeightPruningConfig,
)
from neural_compressor.config import AccuracyCriterion, TuningCriterion

from pipeline.compression.weight_pruning import keeping_config, pruning_config
from pipeline.config.schema import (
    QUANTIZABLE_OP_TYPES,
    Config,
    PhaseConfig,
    PostTrainingConfig,
    QatConfig,
    TrainerConfig,
)
from pipeline.errors import PipelineError, nearest

OpConfig = dict[str, dict[str, list[str]]]
_FP32: OpConfig = {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}
# bf16 is excluded: with it the artifact would depend on whether the CPU that made it has bf16 (see also training.train).
_EXCLUDED = ["bf16"]


@dataclass(frozen=True)
class Phase:
    """One call of INCTrainer.train().

    Args:
        name: as in qat.phases.
        trainer: TrainingArguments of this phase.
        config: what is frozen in it.
        recipe: how it quantizes, if it does.
        quantization: fake-quantize while training and convert to INT8 at the end; None trains in FP32.
        pruning: prune while training, or keep what is pruned; None leaves the weights alone.
    """

    name: str
    trainer: TrainerConfig
    config: PhaseConfig
    recipe: QatConfig
    quantization: QuantizationAwareTrainingConfig | None
    pruning: WeightPruningConfig | None


def phases(config: Config, fp32_modules: Sequence[str], train_rows: int) -> tuple[Phase, ...]:
    """List the recipe's phases, each with its own length and learning rate over the trainer group's.

    Args:
        config: for the recipe, the trainer that all phases share, and pruning.
        fp32_modules: from module_names().
        train_rows: in the training split.
    """
    built: list[Phase] = []
    for name, phase in config.qat.phases.items():
        own = {
            key: value
            for key in ("num_train_epochs", "learning_rate")
            if (value := getattr(phase, key)) is not None
        }
        trainer = replace(config.trainer, **own)
        quantization = qat_config(config.qat, fp32_modules) if phase.quantize else None
        pruning = None
        if config.pruning is not None:
            pruning = (
                keeping_config(config.pruning)
                if built
                else pruning_config(config.pruning, steps(trainer, train_rows))
            )
        built.append(Phase(name, trainer, phase, config.qat, quantization, pruning))
    return tuple(built)


def steps(trainer: TrainerConfig, train_rows: int) -> int:
    """Count the optimizer steps of a phase, as the Trainer does."""
    if trainer.max_steps > 0:
        return trainer.max_steps
    batches = math.ceil(train_rows / trainer.per_device_train_batch_size)
    return math.ceil(
        max(batches // trainer.gradient_accumulation_steps, 1) * trainer.num_train_epochs
    )


def qat_config(config: QatConfig, fp32_modules: Sequence[str]) -> QuantizationAwareTrainingConfig:
    """Build Neural Compressor's config of quantization-aware training.

    Args:
        config: for the op types that stay in FP32.
        fp32_modules: from module_names().
    """
    return QuantizationAwareTrainingConfig(
        excluded_precisions=_EXCLUDED,
        op_type_dict=dict.fromkeys(config.fp32_op_types, _FP32),
        op_name_dict=_by_name(fp32_modules),
    )


def post_training_config(
    config: QatConfig, post_training: PostTrainingConfig, fp32_modules: Sequence[str]
) -> PostTrainingQuantConfig:
    """Build Neural Compressor's config of post-training quantization.

    Args:
        config: for the op types that stay in FP32, and the scheme of the activations.
        post_training: the rest.
        fp32_modules: from module_names().
    """
    op_types: dict[str, OpConfig] = {}
    if post_training.approach == "static":
        activation: dict[str, list[str]] = {
            "scheme": [config.activation_scheme],
            "algorithm": [post_training.activation_algorithm],
        }
        op_types["Linear"] = {"activation": activation}
    op_types |= dict.fromkeys(config.fp32_op_types, _FP32)
    tuning = {}
    if post_training.tolerable_loss is not None:
        tuning = {
            "accuracy_criterion": AccuracyCriterion(
                criterion=post_training.criterion, tolerable_loss=post_training.tolerable_loss
            ),
            "tuning_criterion": TuningCriterion(max_trials=post_training.max_trials, timeout=0),
        }
    return PostTrainingQuantConfig(
        approach=post_training.approach,
        excluded_precisions=_EXCLUDED,
        op_type_dict=op_types,
        op_name_dict=_by_name(fp32_modules),
        **tuning,
    )


def module_names(model: torch.nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Find the modules that patterns name, out of those that can be quantized.

    Args:
        model: a float classifier.
        patterns: a name or a shell pattern each, of a module or of one that it lies in.

    Raises:
        PipelineError: a pattern names none.
    """
    known = quantizable(model, QUANTIZABLE_OP_TYPES)
    found: set[str] = set()
    for pattern in patterns:
        named = {
            name
            for name in known
            if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
        }
        if not named:
            raise PipelineError(
                f"qat.fp32_modules: {pattern} names no module that can be quantized; {nearest(pattern, known)}"
            )
        found |= named
    return tuple(name for name in known if name in found)


def quantizable(model: torch.nn.Module, op_types: Sequence[str]) -> list[str]:
    """Name the modules of some op types."""
    return [name for name, module in model.named_modules() if type(module).__name__ in op_types]


def _by_name(modules: Sequence[str]) -> dict[str, OpConfig]:
    # Neural Compressor 3.7 puts some modules into a wrapper, and knows them by the wrapped name alone.
    return {name: _FP32 for module in modules for name in (module, f"{module}.module")}
