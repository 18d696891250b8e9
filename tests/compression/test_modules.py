import pytest
from torch import nn

from pipeline.compression.modules import matching_modules, possible_names, quantizable_modules
from pipeline.errors import PipelineError


def test_modules_are_named_by_pattern() -> None:
    layer = nn.ModuleDict({"query": nn.Linear(2, 2), "norm": nn.LayerNorm(2), "drop": nn.Dropout()})
    model = nn.ModuleDict(
        {"layer": nn.ModuleList([layer, nn.ModuleDict({"query": nn.Linear(2, 2)})])}
    )
    assert matching_modules(model, []) == ()
    assert matching_modules(model, ["layer.0"]) == ("layer.0.query", "layer.0.norm")
    assert matching_modules(model, ["*.query"]) == ("layer.0.query", "layer.1.query")
    with pytest.raises(
        PipelineError, match=r"layer.0.qery names no module .* did you mean layer.0.query"
    ):
        matching_modules(model, ["layer.0.qery"])


def test_modules_are_listed_by_op_type_in_the_order_of_the_model() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Embedding(2, 2), "c": nn.Dropout()})
    assert quantizable_modules(model) == ["a", "b"]
    assert quantizable_modules(model, ["Embedding"]) == ["b"]


def test_a_module_may_be_wrapped_in_the_int8_model() -> None:
    assert possible_names("bert.pooler") == ("bert.pooler", "bert.pooler.module")
