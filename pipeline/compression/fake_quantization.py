"""Adapt the fake-quantization that Neural Compressor inserts to a recipe, and compute it faster.

torch 2.13 fake-quantizes with scalar loops (fused_moving_avg_obs_fake_quant,
fake_quantize_per_channel_affine), and an embedding's whole table in every step: a QAT step of a
2-layer MiniLM took 2.4 times as long as an FP32 step, nearly half of it for the table. The
functions below compute the same from whole-tensor operations; their tests compare them with
torch's.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.ao.nn import qat
from torch.ao.quantization import (
    FusedMovingAvgObsFakeQuantize,
    MovingAverageMinMaxObserver,
)
from transformers import TrainerCallback

from pipeline.config.schema import PhaseConfig, QatConfig

WEIGHT_AVERAGING = 1.0  # share of a step's range in a weight's range
LEVELS = 255  # of an embedding's row, unsigned 8 bits
EPS = torch.finfo(torch.float32).eps  # the smallest scale, as in torch's observers


class FakeQuantization(TrainerCallback):
    """Set schemes, freeze observers, and replace the computation of fake-quantization.

    Neural Compressor 3.7.1 takes fixed schemes for training (PyTorch_FXAdaptor._pre_hook_for_qat):
    activations per tensor and asymmetric, weights per channel and symmetric. It inserts the modules
    after INCTrainer's on_train_begin and converts them after on_train_end; this callback works in
    between, and leaves the modules as torch made them.

    Args:
        recipe: the qat group, for the schemes.
        phase: config of the quantizing phase, for the share of steps after which observers freeze.
    """

    def __init__(self, recipe: QatConfig, phase: PhaseConfig) -> None:
        self._recipe = recipe
        self._phase = phase
        self._replaced: list[nn.Module] = []

    def prepare(self, model: nn.Module) -> None:
        """Change the modules that Neural Compressor has inserted into a model."""
        if self._recipe.weight_granularity == "per_tensor":
            quantize_weights_per_tensor(model)
        if self._recipe.activation_scheme == "sym":
            quantize_activations_around_zero(model)
        if not self._recipe.fake_quantize_outputs:
            leave_outputs(model)
        follow_weights(model)
        self._replaced = replace_forward(model)

    def on_step_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Freeze the observers once their share of the steps is done."""
        share = self._phase.freeze_observers_after
        if share is not None and state.global_step >= share * state.max_steps:
            for module in model.modules():
                # An embedding's rows have the ranges of the step, and no observer to freeze.
                if type(module) is FusedMovingAvgObsFakeQuantize:
                    module.disable_observer()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Give the modules their own computation back, before they are converted."""
        for module in self._replaced:
            del module.forward


def follow_weights(model: nn.Module) -> None:
    """Let the range of a weight be that of its values in each step.

    torch averages it over a hundred steps, as it does for activations: a weight that grows faster,
    such as that of a new head, is clipped, and learns no further.

    Args:
        model: model that Neural Compressor has prepared.
    """
    for name, module in model.named_modules():
        if name.endswith(".weight_fake_quant") and type(module) is FusedMovingAvgObsFakeQuantize:
            module.activation_post_process.averaging_constant = WEIGHT_AVERAGING


@contextlib.contextmanager
def mean_ranges(model: nn.Module) -> Iterator[None]:
    """Let activations have, after the block, the mean of the ranges that are seen in it.

    Args:
        model: model that Neural Compressor has prepared, in evaluation mode, so that dropout does
            not widen them.
    """
    modules: list[Any] = [
        each for each in model.modules() if type(each) is FusedMovingAvgObsFakeQuantize
    ]
    averaging = {each: each.activation_post_process.averaging_constant for each in modules}
    calls: Counter[nn.Module] = Counter()

    def weigh(module: Any, _: Any) -> None:
        calls[module] += 1  # several in a batch, where layers share it
        module.activation_post_process.averaging_constant = 1 / calls[module]

    handles = [
        module.register_forward_pre_hook(weigh)
        for module in modules
        if averaging[module] != WEIGHT_AVERAGING
    ]
    for module in modules:
        module.train()  # what is in evaluation moves no range
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in modules:
            module.eval()
            module.activation_post_process.averaging_constant = averaging[module]


def leave_outputs(model: nn.Module) -> None:
    """Fake-quantize an activation only where a Linear takes it; the others are observed alone.

    Conversion gives a module of PyTorch an INT8 output, for which the observers keep the range. The
    deployed runtimes have no such output: their Linear answers in FP32.

    Args:
        model: model that Neural Compressor has prepared, graph by graph.
    """
    for graph_module in model.modules():
        if not isinstance(graph_module, torch.fx.GraphModule):
            continue
        modules = dict(graph_module.named_modules())
        for node in graph_module.graph.nodes:
            module = modules.get(node.target) if node.op == "call_module" else None
            if not isinstance(module, FusedMovingAvgObsFakeQuantize):
                continue
            if not any(isinstance(modules.get(user.target), nn.Linear) for user in node.users):
                module.disable_fake_quant()


def replace_forward(model: nn.Module) -> list[nn.Module]:
    """Let every fake-quantization of a model compute with the functions of this module.

    Args:
        model: model that Neural Compressor has prepared.

    Returns:
        The modules that changed; deleting their attribute `forward` undoes it.
    """
    replaced: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, qat.Embedding):
            module.forward = MethodType(_quantized_rows, module)  # type: ignore[method-assign]
        elif type(module) is FusedMovingAvgObsFakeQuantize:
            compute = _per_channel if module.is_per_channel else _per_tensor
            module.forward = MethodType(compute, module)  # type: ignore[method-assign]
        else:
            continue
        replaced.append(module)
    return replaced


def quantize_weights_per_tensor(model: nn.Module) -> None:
    """Give every fake-quantized Linear one scale for its whole weight."""
    for module in model.modules():
        if isinstance(module, qat.Linear):
            module.weight_fake_quant = FusedMovingAvgObsFakeQuantize(
                observer=MovingAverageMinMaxObserver,
                quant_min=-128,
                quant_max=127,
                dtype=torch.qint8,
                qscheme=torch.per_tensor_symmetric,
            )


def quantize_activations_around_zero(model: nn.Module) -> None:
    """Give every fake-quantized activation the zero point in the middle of its levels."""
    replacements: dict[nn.Module, nn.Module] = {}  # a module may stand in several places
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            is_activation = (
                isinstance(child, FusedMovingAvgObsFakeQuantize)
                and child.qscheme == torch.per_tensor_affine
            )
            if is_activation and child not in replacements:
                observer: Any = child.activation_post_process
                replacements[child] = FusedMovingAvgObsFakeQuantize(
                    observer=MovingAverageMinMaxObserver,
                    quant_min=observer.quant_min,
                    quant_max=observer.quant_max,
                    dtype=torch.quint8,
                    qscheme=torch.per_tensor_symmetric,
                )
            if is_activation:
                setattr(parent, name, replacements[child])


class _StraightThrough(torch.autograd.Function):
    """Round to a grid; the gradient passes between the ends of the grid, and stops beyond them.

    (Straight-through estimator: Bengio, Leonard and Courville, arXiv:1308.3432.)
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, scale: float, low: int, high: int) -> torch.Tensor:
        """Round values of any shape to multiples of scale from low to high."""
        ctx.save_for_backward(values)
        ctx.ends = ((low - 0.5) * scale, (high + 0.5) * scale)
        return torch.mul(values, 1 / scale).round_().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (values,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], values, *ctx.ends), None, None, None


def _per_tensor(self: FusedMovingAvgObsFakeQuantize, values: torch.Tensor) -> torch.Tensor:
    """Compute FusedMovingAvgObsFakeQuantize.forward with one range; evaluation does not move it.

    Args:
        self: the fake-quantization.
        values: activations of any shape.
    """
    observer = self.activation_post_process
    low, high = observer.quant_min, observer.quant_max
    if self.training and self.observer_enabled.item():
        least, most = (float(value) for value in torch.aminmax(values.detach()))
        if math.isfinite(observer.min_val.item()):
            least = observer.min_val.item() + observer.averaging_constant * (
                least - observer.min_val.item()
            )
            most = observer.max_val.item() + observer.averaging_constant * (
                most - observer.max_val.item()
            )
        observer.min_val.fill_(least)
        observer.max_val.fill_(most)
        scale, zero_point = observer.calculate_qparams()
        self.scale.copy_(scale)
        self.zero_point.copy_(zero_point)
    if not self.fake_quant_enabled.item():
        return values
    zero = int(self.zero_point.item())
    quantized: torch.Tensor = _StraightThrough.apply(  # type: ignore[no-untyped-call]
        values, self.scale.item(), low - zero, high - zero
    )
    return quantized


def _per_channel(self: FusedMovingAvgObsFakeQuantize, weight: torch.Tensor) -> torch.Tensor:
    """Compute FusedMovingAvgObsFakeQuantize.forward with a symmetric range for each row.

    Evaluation does not move the range. torch 2.13 trains on a grid of max(-least / 128, most / 127)
    and converts on a grid of max(-least, most) / 127.5, as its observer says; this trains on the
    latter, which is deployed.

    Args:
        self: the fake-quantization.
        weight: weight of a Linear, (out_features, in_features), or of a convolution,
            (out_channels, in_channels / groups, *kernel).
    """
    observer = self.activation_post_process
    low, high = observer.quant_min, observer.quant_max
    if self.training and self.observer_enabled.item():
        least, most = weight.detach().flatten(1).aminmax(dim=1)
        if observer.min_val.numel():
            least = torch.lerp(observer.min_val, least, observer.averaging_constant)
            most = torch.lerp(observer.max_val, most, observer.averaging_constant)
        else:
            self.scale.resize_(len(weight))
            self.zero_point.resize_(len(weight)).zero_()
            observer.min_val.resize_(len(weight))
            observer.max_val.resize_(len(weight))
        observer.min_val.copy_(least)
        observer.max_val.copy_(most)
        furthest = torch.maximum(-least, most).clamp_(min=0)
        self.scale.copy_((furthest / ((high - low) / 2)).clamp_(min=EPS))
    scale = self.scale.view(-1, *[1] * (weight.dim() - 1))
    inside = torch.clamp(weight, (low - 0.5) * scale, (high + 0.5) * scale)
    with torch.no_grad():
        error = (weight * scale.reciprocal()).round_().clamp_(low, high).mul_(scale).sub_(inside)
    return inside + error


def _quantized_rows(self: qat.Embedding, ids: torch.Tensor) -> torch.Tensor:
    """Compute qat.Embedding.forward for the rows that are looked up; each row has its own range.

    Args:
        self: the embedding.
        ids: ids of rows, any shape.

    Returns:
        Fake-quantized rows, (*ids.shape, embedding_dim), with the gradient of the rows as they are.
    """
    rows = nn.functional.embedding(ids, self.weight, self.padding_idx)
    with torch.no_grad():
        low, high = rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True)
        scale = (high - low) / LEVELS
        scale = torch.where(scale > EPS, scale, torch.ones_like(scale))
        zero_point = -low / scale
        error = (
            (rows / scale + zero_point)
            .round_()
            .clamp_(0, LEVELS)
            .sub_(zero_point)
            .mul_(scale)
            .sub_(rows)
        )
    return rows + error
