"""Measure how far each module of an INT8 model is from the FP32 model with the same weights."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn

from pipeline.compression.modules import names_in_int8_model, quantizable_modules

SMALLEST_NORM = 1e-12  # instead of a division by zero


def layer_errors(
    float_model: nn.Module,
    int8_model: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    int8_modules: frozenset[str],
) -> pd.DataFrame:
    """Compare weights and outputs module by module.

    Outputs are those within the whole network, so that an error carries on into later modules.

    Args:
        float_model: FP32 classifier.
        int8_model: classifier that was converted from the same weights.
        inputs: a batch for both models, (batch, tokens) each.
        int8_modules: names of the converted modules.

    Returns:
        A row for each Embedding, LayerNorm and Linear that both models have, in their order:
        module, op_type, precision, weight_error (empty for FP32 modules) and output_error, as
        |FP32 - INT8| / |FP32| in Euclidean norms.
    """
    names = quantizable_modules(float_model)
    int8_names = names_in_int8_model(int8_model, names)
    expected = _outputs(float_model, {name: name for name in names}, inputs)
    outputs = _outputs(int8_model, int8_names, inputs)
    rows = []
    for name in names:
        if name not in outputs or name not in expected:
            continue
        float_module = float_model.get_submodule(name)
        weight_error = None
        if name in int8_modules:
            int8_module = int8_model.get_submodule(int8_names[name])
            weight_error = _weight_error(float_module, int8_module)
        rows.append(
            {
                "module": name,
                "op_type": type(float_module).__name__,
                "precision": "INT8" if name in int8_modules else "FP32",
                "weight_error": weight_error,
                "output_error": _relative_error(expected[name], outputs[name]),
            }
        )
    return pd.DataFrame(
        rows, columns=["module", "op_type", "precision", "weight_error", "output_error"]
    )


def _outputs(
    model: nn.Module, names: Mapping[str, str], inputs: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Run a model and keep the outputs of some modules, by the float model's names."""
    outputs: dict[str, torch.Tensor] = {}

    def keep(name: str, _: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            outputs[name] = output.dequantize() if output.is_quantized else output

    hooks = [
        model.get_submodule(path).register_forward_hook(partial(keep, name))
        for name, path in names.items()
    ]
    try:
        model.eval()
        with torch.inference_mode():
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def _weight_error(float_module: nn.Module, int8_module: nn.Module) -> float | None:
    weight: Any = int8_module.weight
    if isinstance(weight, torch.Tensor):
        return None  # a LayerNorm's stays in FP32
    float_weight: Any = float_module.weight
    return _relative_error(float_weight.detach(), weight().dequantize())


def _relative_error(expected: torch.Tensor, actual: torch.Tensor) -> float:
    return float((expected - actual).norm() / expected.norm().clamp(min=SMALLEST_NORM))
