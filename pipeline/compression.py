"""QatConfig to training phases with their Neural Compressor configs."""

from dataclasses import dataclass, replace

from neural_compressor import QuantizationAwareTrainingConfig

from pipeline.config import QatConfig, TrainerConfig

_FP32 = {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}


@dataclass(frozen=True)
class Phase:
    """One call of INCTrainer.train().

    Args:
        name: as in qat.phases.
        trainer: TrainingArguments of this phase.
        quantization: fake-quantize while training and convert to INT8 at the end; None trains in FP32.
    """

    name: str
    trainer: TrainerConfig
    quantization: QuantizationAwareTrainingConfig | None


def quantization_config(config: QatConfig) -> QuantizationAwareTrainingConfig:
    """Build Neural Compressor's config.

    bf16 is excluded: with it the artifact would depend on whether the CPU that made it has bf16 (see also training.train).

    Args:
        config: for the op types that stay in FP32.
    """
    return QuantizationAwareTrainingConfig(
        excluded_precisions=["bf16"], op_type_dict=dict.fromkeys(config.fp32_op_types, _FP32)
    )


def phases(config: QatConfig, trainer: TrainerConfig) -> tuple[Phase, ...]:
    """List the recipe's phases, each with its own length and learning rate over the trainer group's.

    Args:
        config: the recipe.
        trainer: what every phase shares.
    """
    built = []
    for name, phase in config.phases.items():
        own = {key: value for key in ("num_train_epochs", "learning_rate") if (value := getattr(phase, key)) is not None}
        quantization = quantization_config(config) if phase.quantize else None
        built.append(Phase(name, replace(trainer, **own), quantization))
    return tuple(built)
