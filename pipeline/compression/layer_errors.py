"""How far each module of an INT8 model is from the FP32 one with the same weights."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn

from pipeline.compression.inc_configs import quantizable
from pipeline.config.schema import QUANTIZABLE_OP_TYPES

WRAPPED = ".module"  # Neural Compressor 3.7 puts some modules into a wrapper


def layer_errors(
    float_model: nn.Module,
    int8_model: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    int8_modules: frozenset[str],
) -> pd.DataFrame:
    """Compare weights and outputs module by module.

    Outputs are those within the whole network, so that an error carries on into the modules behind it.

    Args:
        float_model: FP32 classifier.
        int8_model: converted from the same weights.
        inputs: a batch for both; (batch, tokens) each.
        int8_modules: names of the converted modules.

    Returns:
        A row for each Embedding, LayerNorm and Linear that both have, in their order: module, op_type, precision,
        weight_error (empty for FP32 modules) and output_error, as |FP32 - INT8| / |FP32| in Euclidean norms.
    """
    names = quantizable(float_model, QUANTIZABLE_OP_TYPES)
    wanted = _outputs(float_model, {name: name for name in names}, inputs)
    modules = dict(int8_model.named_modules())
    found = {
        name: next((each for each in (f"{name}{WRAPPED}", name) if each in modules), "")
        for name in names
    }
    outputs = _outputs(int8_model, {name: own for name, own in found.items() if own}, inputs)
    rows = []
    for name in names:
        if name not in outputs or name not in wanted:
            continue
        float_module = float_model.get_submodule(name)
        weight_error = None
        if name in int8_modules:
            weight_error = _weight_error(float_module, modules[found[name]])
        rows.append(
            {
                "module": name,
                "op_type": type(float_module).__name__,
                "precision": "INT8" if name in int8_modules else "FP32",
                "weight_error": weight_error,
                "output_error": _relative(wanted[name], outputs[name]),
            }
        )
    return pd.DataFrame(
        rows, columns=["module", "op_type", "precision", "weight_error", "output_error"]
    )


def _outputs(
    model: nn.Module, names: Mapping[str, str], inputs: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    kept: dict[str, torch.Tensor] = {}

    def keep(name: str, _: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            kept[name] = output.dequantize() if output.is_quantized else output

    hooks = [
        model.get_submodule(own).register_forward_hook(partial(keep, name))
        for name, own in names.items()
    ]
    try:
        model.eval()
        with torch.inference_mode():
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return kept


def _weight_error(float_module: nn.Module, int8_module: nn.Module) -> float | None:
    weight: Any = int8_module.weight
    if isinstance(weight, torch.Tensor):
        return None  # a LayerNorm's stays in FP32
    float_weight: Any = float_module.weight
    return _relative(float_weight.detach(), weight().dequantize())


def _relative(wanted: torch.Tensor, found: torch.Tensor) -> float:
    return float((wanted - found).norm() / wanted.norm().clamp(min=1e-12))
