"""Turn the qat group into Neural Compressor's quantization configs."""

from collections.abc import Sequence

from neural_compressor import PostTrainingQuantConfig, QuantizationAwareTrainingConfig
from neural_compressor.config import AccuracyCriterion, TuningCriterion

from pipeline.compression.modules import possible_names
from pipeline.config.schema import PostTrainingConfig, QatConfig

OpConfig = dict[str, dict[str, list[str]]]
_FP32: OpConfig = {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}
# Where the CPU has bf16, Neural Compressor (3.7.1) would make modules in it, for a model that other
# CPUs run as well.
_EXCLUDED_PRECISIONS = ["bf16"]


def qat_config(recipe: QatConfig, fp32_modules: Sequence[str]) -> QuantizationAwareTrainingConfig:
    """Build the config of quantization-aware training.

    Args:
        recipe: the qat group, for the op types that stay in FP32.
        fp32_modules: names of the modules that stay in FP32.
    """
    return QuantizationAwareTrainingConfig(
        excluded_precisions=_EXCLUDED_PRECISIONS,
        op_type_dict=dict.fromkeys(recipe.fp32_op_types, _FP32),
        op_name_dict=_fp32_by_name(fp32_modules),
    )


def post_training_config(
    recipe: QatConfig, post_training: PostTrainingConfig, fp32_modules: Sequence[str]
) -> PostTrainingQuantConfig:
    """Build the config of post-training quantization.

    Args:
        recipe: the qat group, for the op types that stay in FP32 and the activations' scheme.
        post_training: approach, observer and accuracy criterion.
        fp32_modules: names of the modules that stay in FP32.
    """
    op_types: dict[str, OpConfig] = {}
    if post_training.approach == "static":
        activation: dict[str, list[str]] = {
            "scheme": [recipe.activation_scheme],
            "algorithm": [post_training.activation_algorithm],
        }
        op_types["Linear"] = {"activation": activation}
    op_types |= dict.fromkeys(recipe.fp32_op_types, _FP32)
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
        excluded_precisions=_EXCLUDED_PRECISIONS,
        op_type_dict=op_types,
        op_name_dict=_fp32_by_name(fp32_modules),
        **tuning,
    )


def _fp32_by_name(modules: Sequence[str]) -> dict[str, OpConfig]:
    return {name: _FP32 for module in modules for name in possible_names(module)}
