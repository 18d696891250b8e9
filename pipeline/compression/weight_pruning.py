"""Turn the pruning group into Neural Compressor's configs, and measure a model's sparsity."""

import math

import torch
from neural_compressor import WeightPruningConfig
from torch import nn
from torch.ao.nn import quantized

from pipeline.config.schema import PruningConfig
from pipeline.errors import PipelineError

DEFAULT_PRUNINGS = 20  # while sparsity grows, unless pruning_frequency is given


def growing_config(config: PruningConfig, steps: int) -> WeightPruningConfig:
    """Build the config of the phase in which sparsity grows.

    Args:
        config: the pruning group.
        steps: training steps of the phase.

    Raises:
        PipelineError: the phase ends before sparsity reaches its target.
    """
    end = config.end_step if config.end_step is not None else max(config.start_step + 1, steps // 2)
    grows = end - config.start_step
    every = config.pruning_frequency or max(1, math.ceil(grows / DEFAULT_PRUNINGS))
    last = config.start_step + grows // every * every  # pruning; steps count from 0
    if last >= steps:
        key = "start_step" if config.end_step is None else "end_step"
        raise PipelineError(
            f"pruning.{key}={getattr(config, key)} needs at least {last + 1} training steps to "
            f"reach pruning.target_sparsity={config.target_sparsity}, and the first phase has "
            f"{steps}; give a lower one, or train longer."
        )
    return WeightPruningConfig(
        pruning_type=config.pruning_type,
        target_sparsity=config.target_sparsity,
        pruning_scope=config.pruning_scope,
        start_step=config.start_step,
        end_step=end,
        pruning_frequency=every,
        **_layers(config),
    )


def keeping_config(config: PruningConfig) -> WeightPruningConfig:
    """Build the config of a phase that keeps what an earlier one made zero.

    Args:
        config: the pruning group.
    """
    return WeightPruningConfig(
        pruning_type="pattern_lock",
        target_sparsity=config.target_sparsity,
        pruning_scope=config.pruning_scope,
        start_step=0,
        end_step=0,
        **_layers(config),
    )


def sparsity(model: nn.Module) -> float:
    """Return the share of zeros in the weights of a model's Linear layers, 0 to 1.

    Args:
        model: FP32 or INT8 classifier.
    """
    zeros = total = 0
    for module in model.modules():
        if isinstance(module, nn.Linear):
            weight = module.weight.detach()
        elif isinstance(module, quantized.Linear):
            weight = module.weight().int_repr()  # type: ignore[no-untyped-call]
        else:
            continue
        zeros += int(weight.numel() - torch.count_nonzero(weight))
        total += weight.numel()
    return zeros / total if total else 0.0


def _layers(config: PruningConfig) -> dict[str, object]:
    # Lists are given, because Neural Compressor 3.7 appends to its defaults, which all configs of a
    # process share.
    return {
        "pattern": config.pattern,
        "pruning_op_types": ["Linear"],
        "op_names": [],
        "excluded_op_names": [],
        "pruning_configs": [{}],
    }
