from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from transformers import BertConfig, BertForSequenceClassification

from pipeline.inference.classifier import pad
from pipeline.inference.exact_sums import sums_are_exact
from pipeline.inference.session import EXACT_SUMS
from pipeline.models.export import INPUTS, to_onnx
from pipeline.models.inference_graph import inference_graph
from pipeline.models.onnx_int8 import Range, quantize_onnx

WIDTH = 384  # as of MiniLM: the runtime sums more than 128 products in blocks, as the shape wants


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Quantize a BERT with random weights that tell texts apart."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=200,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=12,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=5,
        initializer_range=0.2,
        attn_implementation="eager",
    )
    directory = tmp_path_factory.mktemp("onnx_int8")
    to_onnx(inference_graph(BertForSequenceClassification(config).eval()), directory / "fp32.onnx")
    quantize_onnx(
        directory / "fp32.onnx", directory / "model.onnx", texts(seed=1), ["MatMul", "Gather"]
    )
    return directory


def texts(seed: int) -> list[list[int]]:
    """Draw the token ids of texts of 3 to 50 tokens."""
    random = np.random.default_rng(seed)
    return [list(map(int, random.integers(1, 200, size))) for size in range(3, 51)]


def test_a_text_has_one_answer_bit_for_bit_in_any_batch_and_on_any_threads(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    # The float products as well: their differences seldom survive the next rounding to INT8, but
    # on a thousand texts some do.
    products = [node.output[0] for node in model.graph.node if node.op_type == "MatMul"]
    for name in products:
        model.graph.output.append(helper.make_empty_tensor_value_info(name))
    run_on_two, run_on_one = opened(model, threads=2), opened(model, threads=1)
    assert len(products) == 2 + 4, "attention of the first layer and of the last"
    for row in texts(seed=2):
        neighbours = [list(map(int, np.roll(row, shift))) for shift in range(1, 8)]
        alone, alone_on_one = run_on_two([row]), run_on_one([row])
        in_a_batch = run_on_two([*neighbours, row])
        for value, on_one, together in zip(alone, alone_on_one, in_a_batch, strict=True):
            np.testing.assert_array_equal(value, on_one)
            np.testing.assert_array_equal(value[0], together[-1])


def opened(model: ModelProto, threads: int) -> Callable[[list[list[int]]], list[np.ndarray]]:
    """Run a model with several outputs as pipeline.inference.session does."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not sums_are_exact():
        options.add_session_config_entry(EXACT_SUMS, "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda rows: session.run(None, dict(zip(INPUTS, pad(rows, 0), strict=True)))


def test_the_file_holds_the_range_of_each_activation(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    op_types = [node.op_type for node in model.graph.node]
    assert "DynamicQuantizeLinear" not in op_types
    # In each layer six products with weights, the last one's key and value left out; the head two.
    assert op_types.count("MatMulIntegerToFloat") == 6 + 4 + 2
    assert "MatMulInteger" not in op_types
    scales = {node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    values = [constant(model, name) for name in scales]
    assert len(set(map(float, values))) == len(scales) == 10
    assert all(value > 0 for value in values)


def test_what_stays_a_float_product_is_stored_as_bytes_and_loaded_as_floats(
    folder: Path, tmp_path: Path
) -> None:
    model = onnx.load(folder / "model.onnx")
    kinds = {weight.name: weight.data_type for weight in model.graph.initializer}
    stacks = {name for name in kinds if name.startswith(("last_layer.key", "last_layer.value"))}
    assert {name: kinds[name] for name in stacks} == {
        f"last_layer.{part}_{kind}": stored
        for part in ("key", "value")
        for kind, stored in (("quantized", TensorProto.INT8), ("scale", TensorProto.FLOAT))
    }
    heads, head_size = 12, WIDTH // 12
    for part, shape in (("key", (heads, head_size, 1)), ("value", (heads, 1, head_size))):
        assert constant(model, f"last_layer.{part}_scale").shape == shape, "a channel of the layer"
        given = constant(onnx.load(folder / "fp32.onnx"), f"last_layer.{part}")
        scale = constant(model, f"last_layer.{part}_scale")
        stored = constant(model, f"last_layer.{part}_quantized")
        assert (np.abs(stored * scale - given) <= 0.501 * scale).all()
        assert (np.abs(stored).max(axis=shape.index(1, 1)) == 127).all(), "the whole range"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    loaded = onnx.load(tmp_path / "loaded.onnx")
    readers = [
        node.op_type
        for node in loaded.graph.node
        if any(name.startswith(("last_layer.key", "last_layer.value")) for name in node.input)
    ]
    assert readers == ["MatMul", "MatMul"], "neither Cast nor Mul is left"


class TwiceTheSameLayer(torch.nn.Module):
    """As ALBERT's layers, which share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(200, 32)
        self.layer = torch.nn.Linear(32, 32)
        self.classifier = torch.nn.Linear(32, 5)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(input_ids) * attention_mask[:, :, None]
        for _ in range(2):
            hidden = torch.tanh(self.layer(hidden))
        return self.classifier(hidden[:, 0])


def test_a_weight_that_two_products_read_opens_on_every_cpu(tmp_path: Path) -> None:
    torch.manual_seed(0)
    to_onnx(TwiceTheSameLayer().eval(), tmp_path / "fp32.onnx")
    quantize_onnx(tmp_path / "fp32.onnx", tmp_path / "model.onnx", texts(seed=1), ["MatMul"])
    model = onnx.load(tmp_path / "model.onnx")
    products = [node for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"]
    weights = [constant(model, node.input[1]) for node in products]
    # Signed, the runtime would make two unsigned ones of the same name where VNNI is missing.
    assert [weight.dtype for weight in weights] == [np.uint8, np.uint8, np.int8]
    zero_points = [constant(model, node.input[5]) for node in products]
    assert [set(each.ravel()) for each in zero_points] == [{128}, {128}, {0}]
    as_float = opened(onnx.load(tmp_path / "fp32.onnx"), threads=1)
    in_int8 = opened(model, threads=1)
    for row in texts(seed=2):
        (expected,), (found,) = as_float([row]), in_int8([row])
        np.testing.assert_allclose(found, expected, atol=0.05)


def constant(model: ModelProto, name: str) -> np.ndarray:
    """Return the value of an initializer."""
    (found,) = (each for each in model.graph.initializer if each.name == name)
    return numpy_helper.to_array(found)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [(-1.0, 1.55, 0.01, 100), (0.0, 2.55, 0.01, 0), (-2.55, 0.0, 0.01, 255), (0.0, 0.0, 1.0, 0)],
)
def test_a_range_becomes_a_scale_and_the_place_of_zero(
    low: float, high: float, scale: float, zero_point: int
) -> None:
    found = Range(low, high)
    assert found.scale == pytest.approx(scale)
    assert found.zero_point == zero_point
