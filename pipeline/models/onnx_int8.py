"""Quantize an ONNX graph to INT8 for ONNX Runtime, with the ranges of its activations in the file.

ONNX Runtime's dynamic quantization gives a batch one range for each activation, so that a text's
answer depends on the texts beside it. Its static quantization (QDQ) leaves half of the matrix
products in float: the runtime turns them into Gemm before it looks for quantized ones
(onnxruntime 1.32). Here the dynamic graph gets constants in place of the ranges that it would
compute, from calibration texts.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from pipeline.inference.classifier import pad

CONTRIB_DOMAIN = "com.microsoft"
LEVELS = 255  # of an unsigned byte above its lowest
SIGN = 128  # between a signed byte and an unsigned one
SIGNED_MAX = 127


@dataclass(frozen=True)
class Range:
    """Lowest and highest value of an activation; 0 lies between them."""

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        """Size of a step of the INT8 grid; 1 for an activation that is 0 throughout."""
        return np.float32((self.high - self.low) / LEVELS or 1.0)

    @property
    def zero_point(self) -> np.uint8:
        """Place of 0 on the grid."""
        return np.uint8(round(-self.low / float(self.scale)))


def quantize_onnx(
    source: Path, target: Path, calibration: Sequence[Sequence[int]], op_types: Sequence[str]
) -> None:
    """Quantize weights per channel, and activations by their ranges on the calibration texts.

    Args:
        source: ONNX file of the float model.
        target: file to write.
        calibration: token ids of training texts.
        op_types: ONNX operators that become INT8, out of MatMul and Gather.
    """
    prepared = source.with_name("prepared.onnx")
    # Symbolic shape inference gives up on two dynamic axes (onnxruntime 1.32).
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    float_model = onnx.load(prepared)
    stacked = _stacked(float_model)
    quantize_dynamic(
        prepared,
        target,
        op_types_to_quantize=list(op_types),
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=stacked,
    )
    model = onnx.load(target)
    if "MatMul" in op_types:
        _store_as_bytes(model, stacked)
    names = [node.input[0] for node in model.graph.node if _is_dynamic(node)]
    if names:
        _set_ranges(model, _ranges(float_model, list(dict.fromkeys(names)), calibration))
        _make_shared_weights_unsigned(model)
        _fuse(model)
    onnx.save(model, target)


def _stacked(model: ModelProto) -> list[str]:
    """Name the products with a stack of matrices: onnxruntime 1.32 has no INT8 kernel for them.

    The two of the last layer are small.
    """
    stacks = _stacks(model)
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and not stacks.keys().isdisjoint(node.input)
    ]


def _stacks(model: ModelProto) -> dict[str, TensorProto]:
    """Return the constants of a graph that are stacks of matrices, by name."""
    return {weight.name: weight for weight in model.graph.initializer if len(weight.dims) > 2}


def _store_as_bytes(model: ModelProto, products: Sequence[str]) -> None:
    """Store the stacks of float products as QAT rounded them: bytes, and a scale for each channel.

    The runtime makes floats of them again as it loads the file, so that an answer takes no longer.
    The file of a MiniLM is 0.9 MB smaller.
    """
    graph, stacks = model.graph, _stacks(model)
    read = {name for node in graph.node if node.name in products for name in node.input}
    nodes = []
    for name in [name for name in stacks if name in read]:
        values = numpy_helper.to_array(stacks[name])
        # A head's matrix has its channels on one side, and on the longer one what they add up.
        added_up = values.ndim - 2 + int(values.shape[-1] > values.shape[-2])
        scale = np.abs(values).max(axis=added_up, keepdims=True) / SIGNED_MAX
        scale[scale == 0] = 1.0
        stored = np.rint(values / scale).astype(np.int8)
        graph.initializer.remove(stacks[name])
        graph.initializer.append(numpy_helper.from_array(stored, f"{name}_quantized"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        nodes += [
            helper.make_node("Cast", [f"{name}_quantized"], [f"{name}_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name]),
        ]
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _is_dynamic(node: NodeProto) -> bool:
    return bool(node.op_type == "DynamicQuantizeLinear")


def _ranges(
    model: ModelProto, names: Sequence[str], calibration: Sequence[Sequence[int]]
) -> dict[str, Range]:
    """Run the float model, and note the lowest and highest value of some of its tensors."""
    watched = ModelProto()
    watched.CopyFrom(model)
    for name in names:
        watched.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    low, high = np.zeros(len(names)), np.zeros(len(names))
    for row in calibration:
        input_ids, attention_mask = pad([row], 0)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        for place, values in enumerate(session.run(list(names), inputs)):
            low[place] = min(low[place], values.min())
            high[place] = max(high[place], values.max())
    return {name: Range(float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _set_ranges(model: ModelProto, ranges: Mapping[str, Range]) -> None:
    """Replace each node that computes a range by one that quantizes with a known range."""
    for node in model.graph.node:
        if not _is_dynamic(node):
            continue
        (activation,), (quantized, scale, zero_point) = node.input, node.output
        found = ranges[activation]
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(found.scale), scale))
        model.graph.initializer.append(
            numpy_helper.from_array(np.asarray(found.zero_point), zero_point)
        )
        static = helper.make_node(
            "QuantizeLinear", [activation, scale, zero_point], [quantized], name=node.name
        )
        node.CopyFrom(static)


def _make_shared_weights_unsigned(model: ModelProto) -> None:
    """Move weights that several products read, as ALBERT's, and their zero points up by 128.

    A session that adds exact sums does so itself for signed weights on a CPU without VNNI, once for
    each product, and then finds a second weight of the same name (onnxruntime 1.32).
    """
    products = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    readers = Counter(node.input[1] for node in products)
    shared = {
        name
        for node in products
        if readers[node.input[1]] > 1
        for name in (node.input[1], node.input[3])
    }
    for weight in model.graph.initializer:
        if weight.name in shared:
            signed = numpy_helper.to_array(weight).astype(np.int16)
            unsigned = (signed + SIGN).astype(np.uint8)
            weight.CopyFrom(numpy_helper.from_array(unsigned, weight.name))


def _fuse(model: ModelProto) -> None:
    """Put each integer product and its way back to float into one node.

    The runtime does so itself for ranges that it computes, but folds two constant scales into one
    first, and then no longer knows the pattern: MatMulInteger, Cast, Mul by both scales, Add.
    """
    graph = model.graph
    edges = _Edges.of(graph)
    vectors = {weight.name for weight in graph.initializer if len(weight.dims) == 1}
    fused: dict[str, NodeProto] = {}  # by the output that the node takes over
    replaced: set[str] = set()  # outputs of the nodes that it stands for
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            product, outputs = _fused(node, edges, vectors)
            fused[product.output[0]] = product
            replaced |= outputs
    nodes = [
        fused.get(node.output[0], node)
        for node in graph.node
        if node.output[0] in fused or node.output[0] not in replaced
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    if all(known.domain != CONTRIB_DOMAIN for known in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB_DOMAIN, 1))


@dataclass(frozen=True)
class _Edges:
    """The nodes of a graph by what they read and write."""

    consumers: Mapping[str, Sequence[NodeProto]]
    producers: Mapping[str, NodeProto]

    @classmethod
    def of(cls, graph: GraphProto) -> "_Edges":
        consumers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                consumers[name].append(node)
        return cls(consumers, {name: node for node in graph.node for name in node.output})


def _fused(node: NodeProto, edges: _Edges, vectors: Set[str]) -> tuple[NodeProto, set[str]]:
    """Make the one node for an integer product, and name the outputs of those it stands for."""
    (cast,) = edges.consumers[node.output[0]]
    (product,) = edges.consumers[cast.output[0]]
    (both_scales,) = (name for name in product.input if name != cast.output[0])
    quantized, weight, zero_point, weight_zero_point = node.input
    scales = edges.producers[both_scales].input
    inputs = [quantized, weight, *scales, zero_point, weight_zero_point]
    output = product.output[0]
    replaced = {node.output[0], cast.output[0], both_scales, output}
    users = edges.consumers[output]
    if len(users) == 1 and users[0].op_type == "Add":
        (bias,) = (name for name in users[0].input if name != output)
        if bias in vectors:
            inputs.append(bias)
            output = users[0].output[0]
    fused = helper.make_node(
        "MatMulIntegerToFloat", inputs, [output], name=node.name, domain=CONTRIB_DOMAIN
    )
    return fused, replaced
