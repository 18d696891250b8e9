"""What replaces torch's fake-quantization computes the same."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.ao.nn import qat
from torch.ao.quantization import (
    FusedMovingAvgObsFakeQuantize,
    QConfigMapping,
    default_embedding_qat_qconfig,
    default_fused_per_channel_wt_fake_quant,
    get_default_qat_qconfig,
)
from torch.ao.quantization.quantize_fx import prepare_qat_fx

from pipeline.compression.fake_quantization import (
    FakeQuantization,
    follow_weights,
    leave_outputs,
    mean_ranges,
    quantize_activations_around_zero,
    quantize_weights_per_tensor,
    replace_forward,
)
from pipeline.config.schema import PhaseConfig, QatConfig


def activation(qscheme: torch.qscheme = torch.per_tensor_affine) -> FusedMovingAvgObsFakeQuantize:
    return FusedMovingAvgObsFakeQuantize(
        dtype=torch.quint8, qscheme=qscheme, quant_min=0, quant_max=255
    )


def compared(module: nn.Module, steps: list[torch.Tensor]) -> None:
    """Run torch's and ours over the same steps: outputs, gradients and state have to agree."""
    ours = deepcopy(module)
    assert replace_forward(ours)
    for values in steps:
        results = []
        for each in (module, ours):
            given = values.clone().requires_grad_()
            out = each(given)
            (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().backward()
            results.append((out.detach(), given.grad))
        torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(results[1][1], results[0][1])
    for name, value in module.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_an_activation_is_rounded_as_torch_does_it(shift: float) -> None:
    torch.manual_seed(0)
    # The later steps reach beyond the range, which follows slowly: their gradient has to stop
    # there.
    compared(activation(), [torch.randn(4, 7, 16) * factor + shift for factor in (1, 1.1, 3)])


@pytest.mark.parametrize("shape", [(12, 16), (12, 4, 3)])  # of a Linear and of a convolution
def test_a_weight_is_rounded_on_the_grid_that_conversion_takes(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = default_fused_per_channel_wt_fake_quant()
    replace_forward(module)
    observer = deepcopy(module.activation_post_process)
    for factor in (1, 1.1, 3):  # the last one reaches beyond the range, which follows slowly
        weight = torch.randn(shape) * factor
        weight[3] = 0  # has the smallest scale
        observer(weight)
        scale, zero_point = observer.calculate_qparams()
        module(weight)
        torch.testing.assert_close(module.scale, scale)
        module.disable_observer()
        results = []
        for replaced in (True, False):
            given = weight.clone().requires_grad_()
            grid = (module.scale, zero_point.int(), 0, -128, 127)
            out = (
                module(given) if replaced else torch.fake_quantize_per_channel_affine(given, *grid)
            )
            (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().backward()
            results.append((out.detach(), given.grad))
        torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-6)
        # The end of the range lies half a step beyond the last level: torch's rounding decides
        # whether its gradient passes.
        apart = (
            (weight / module.scale.view(-1, *[1] * (len(shape) - 1))).abs() - 127.5
        ).abs() > 1e-3
        torch.testing.assert_close(results[0][1][apart], results[1][1][apart])
        module.enable_observer()


def test_looking_up_rounded_rows_is_rounding_the_table_and_looking_up() -> None:
    torch.manual_seed(0)
    table = qat.Embedding(20, 8, padding_idx=0, qconfig=default_embedding_qat_qconfig)
    with torch.no_grad():
        table.weight[3] = 0.5  # a row without a range
    ours = deepcopy(table)
    replace_forward(ours)
    ids = torch.tensor([[1, 3, 3], [0, 19, 2]])
    for each in (table, ours):
        (each(ids) * torch.arange(48.0).view(2, 3, 8)).sum().backward()
    torch.testing.assert_close(ours(ids), table(ids), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.weight.grad, table.weight.grad)


@pytest.mark.parametrize("make", [activation, default_fused_per_channel_wt_fake_quant])
def test_evaluation_leaves_the_ranges_alone(make: type[FusedMovingAvgObsFakeQuantize]) -> None:
    module = make()
    replace_forward(module)
    module(torch.randn(5, 6))
    before = deepcopy(module.state_dict())
    module.eval()
    module(100 * torch.randn(5, 6))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_schemes_are_as_asked_for_and_shared_modules_stay_shared() -> None:
    shared = activation()
    model = nn.ModuleDict({"a": nn.Sequential(shared), "b": nn.Sequential(shared)})
    quantize_activations_around_zero(model)
    assert model["a"][0] is model["b"][0] is not shared
    replace_forward(model)
    values = torch.linspace(-1, 3, 500)
    out = model["a"][0](values)
    assert out.max() - out.min() == pytest.approx(4, abs=0.05)
    assert model["a"][0].scale.item() == pytest.approx(6 / 255, rel=1e-5), "from -3 to 3"

    config = torch.ao.quantization.QConfig(
        activation=activation, weight=default_fused_per_channel_wt_fake_quant
    )
    linear = qat.Linear(4, 3, qconfig=config)
    quantize_weights_per_tensor(nn.Sequential(linear))
    replace_forward(linear)
    linear(torch.randn(2, 4))
    assert linear.weight_fake_quant.scale.item() == pytest.approx(
        linear.weight.abs().max().item() / 127.5, rel=1e-5
    )


def test_the_range_of_a_weight_follows_its_values_at_once() -> None:
    linear = qat.Linear(4, 3, qconfig=get_default_qat_qconfig("x86"))
    replace_forward(linear)
    follow_weights(nn.ModuleList([linear]))
    for factor in (1, 5):
        with torch.no_grad():
            linear.weight.mul_(factor)
        linear(torch.ones(1, 4))
        expected = linear.weight.abs().amax(dim=1) / 127.5
        torch.testing.assert_close(linear.weight_fake_quant.scale, expected.detach())


def test_only_what_a_linear_takes_is_rounded_while_all_is_observed() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.dropout, self.second = nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.second(self.dropout(self.first(values)))

    config = QConfigMapping().set_global(get_default_qat_qconfig("x86"))
    example = (torch.randn(3, 4),)
    model = prepare_qat_fx(Block().train(), config, example)
    leave_outputs(model)
    replace_forward(model)
    model(torch.randn(50, 4))
    rounded = {
        str(node.args[0]): bool(getattr(model, str(node.target)).fake_quant_enabled)
        for node in model.graph.nodes
        if "activation_post_process" in str(node.target)
    }
    assert rounded == {"values": True, "first": False, "dropout": True, "second": False}
    ranges = [
        module.activation_post_process.max_val
        for module in model.modules()
        if type(module) is FusedMovingAvgObsFakeQuantize
    ]
    assert all(bool(each.isfinite().all()) for each in ranges), "for conversion"


def test_the_ranges_before_the_first_step_are_the_means_over_calls() -> None:
    module = activation().eval()
    replace_forward(module)
    observer = module.activation_post_process
    with mean_ranges(module):
        for values in ([-1.0, 2.0], [-3.0, 1.0, 8.0], [-2.0, 5.0]):
            module(torch.tensor(values))
    assert (observer.min_val.item(), observer.max_val.item()) == pytest.approx((-2.0, 5.0))
    assert module.scale.item() == pytest.approx(7 / 255)
    assert not module.training
    assert observer.averaging_constant == 0.01, "as torch has it, for the steps"
    module(torch.tensor([-9.0, 9.0]))
    assert observer.max_val.item() == pytest.approx(5.0), "evaluation moves no range"


@pytest.mark.parametrize(
    ("share", "steps_that_observe"), [(0.5, [0, 1, 2, 3, 4]), (None, list(range(10)))]
)
def test_ranges_stay_as_they_are_once_the_share_of_the_steps_is_done(
    share: float | None, steps_that_observe: list[int]
) -> None:
    phase = PhaseConfig(quantize=True, freeze_observers_after=share)
    callback = FakeQuantization(QatConfig("test", {}), phase)
    model = nn.Sequential(activation(), default_fused_per_channel_wt_fake_quant())
    observing = []
    for step in range(10):
        state = SimpleNamespace(global_step=step, max_steps=10)
        callback.on_step_begin(None, state, None, model=model)
        if any(module.observer_enabled for module in model):
            observing.append(step)
    assert observing == steps_that_observe
    assert all(module.fake_quant_enabled for module in model), "values are rounded to the end"
