from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.compression.layer_errors import layer_errors
from pipeline.config.schema import ModelConfig
from pipeline.models.load import load_model


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.tensor([[2, 5, 9, 3], [2, 7, 3, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
    }


def test_a_model_does_not_differ_from_itself(
    micro_model: Path, batch: dict[str, torch.Tensor]
) -> None:
    model = load_model(ModelConfig(str(micro_model)), ("cold", "hot")).model
    table = layer_errors(model, model, batch, frozenset())
    assert len(table) == 3 + 5 + 14
    assert set(table["precision"]) == {"FP32"}
    assert table["output_error"].max() == 0
    assert table["weight_error"].isna().all()


def test_an_error_shows_where_it_is_made_and_behind_it(
    micro_model: Path, batch: dict[str, torch.Tensor]
) -> None:
    model = load_model(ModelConfig(str(micro_model)), ("cold", "hot")).model
    other = load_model(ModelConfig(str(micro_model)), ("cold", "hot")).model
    with torch.no_grad():
        for parameter in other.bert.encoder.layer[1].intermediate.dense.parameters():
            parameter.mul_(1.1)
    table = layer_errors(model, other, batch, frozenset()).set_index("module")["output_error"]
    assert table["bert.encoder.layer.1.attention.output.dense"] == 0
    assert table["bert.encoder.layer.1.intermediate.dense"] == pytest.approx(0.1, rel=1e-3)
    assert table["bert.encoder.layer.1.output.dense"] > 0


def test_a_converted_module_has_the_error_of_its_weight() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16))
    converted = torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Linear(16, 16)), {nn.Linear}
    )
    with torch.no_grad():
        model[0].weight.copy_(converted[0].weight().dequantize())
        model[0].bias.copy_(converted[0].bias())
        model[0].weight[0] *= 2
    model.forward = lambda input: nn.Sequential.forward(model, input)  # type: ignore[method-assign]
    table = layer_errors(model, converted, {"input": torch.randn(4, 16)}, frozenset({"0"}))
    assert table["precision"].item() == "INT8"
    assert 0.05 < table["weight_error"].item() < 0.3, "one row of sixteen is twice what it was"
