"""A trained classifier to directories for ONNX Runtime and OpenVINO, quantized by each runtime's own quantizer.

The QAT-trained float weights are what is quantized: they have learned to lie well on an INT8 grid. Neural Compressor's own
converted model would carry over its quantized Linear outputs and LayerNorms as well, which neither runtime runs faster.
"""

import contextlib
import io
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pipeline.errors import PipelineError
from pipeline.inference.classifier import ONNX_FILE, OPENVINO_FILE, PAIRS_KEY, TOKENIZER_FILE, pad
from pipeline.models.artifact import Artifact
from pipeline.models.inference_graph import inference_graph

OPSET = 17
INPUTS = ("input_ids", "attention_mask")
ONNX_OPS = {"Linear": "MatMul", "Embedding": "Gather"}
Calibration = Sequence[Sequence[int]]
log = logging.getLogger(__name__)


def export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    calibration: Calibration,
    formats: Sequence[str],
    quantized: Sequence[str],
    folder: Path,
    *,
    pairs: bool = False,
) -> list[Artifact]:
    """Write one directory per format: the model, a tokenizer that cuts as in training, and the model's config.

    Args:
        model: trained float classifier.
        tokenizer: of the model.
        max_length: tokens that texts are cut at.
        calibration: token ids of training texts, for activation ranges.
        formats: out of onnx_fp32, onnx_int8 and openvino_int8.
        quantized: op types that become INT8, out of Embedding and Linear.
        folder: an existing directory; each format gets a folder of its name.
        pairs: whether it classifies pairs of texts.

    Raises:
        PipelineError: the architecture cannot be exported.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as scratch:
        source = Path(scratch) / ONNX_FILE
        _export_graph(model, source, tokenizer.sep_token_id if pairs else None)
        if pairs:
            model.config.update({PAIRS_KEY: True})
        written = []
        for name in formats:
            directory = folder / name
            directory.mkdir()
            WRITERS[name](source, directory, calibration, quantized)
            model.config.save_pretrained(directory)
            _save_tokenizer(tokenizer, max_length, directory)
            written.append(Artifact(name, directory))
            log.info("exported %s: %.1f MB", name, written[-1].size_mb)
    return written


def check_exportable(model: PreTrainedModel) -> None:
    """Export a model on trial, so that an architecture that cannot be exported fails before it is trained.

    Raises:
        PipelineError: it cannot.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as scratch:
        _export_graph(model, Path(scratch) / ONNX_FILE, None)


def to_onnx(graph: torch.nn.Module, file: Path) -> None:
    """Write a module to an ONNX file with any batch size and length.

    Args:
        graph: from input_ids and attention_mask, both (batch, tokens) int64, to logits (batch, num_labels).
        file: to write.
    """
    example = torch.ones(2, 8, dtype=torch.long)
    dynamic = {0: "batch", 1: "tokens"}
    with torch.no_grad():
        torch.onnx.export(
            graph,
            (example, example),
            str(file),
            dynamo=False,  # its graphs are the ones that the two quantizers below were measured on
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes={"input_ids": dynamic, "attention_mask": dynamic, "logits": {0: "batch"}},
        )


def _export_graph(model: PreTrainedModel, file: Path, sep_token_id: int | None) -> None:
    try:
        to_onnx(inference_graph(model, sep_token_id), file)
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise PipelineError(
            f"{model.config.model_type} cannot be exported to ONNX; choose export=none. {str(error).splitlines()[0]}"
        ) from error


def _onnx_fp32(
    source: Path, directory: Path, calibration: Calibration, quantized: Sequence[str]
) -> None:
    shutil.copy(source, directory / ONNX_FILE)


def _onnx_int8(
    source: Path, directory: Path, calibration: Calibration, quantized: Sequence[str]
) -> None:
    """Quantize weights per channel in the file, and activations as they come (onnxruntime.quantization.quantize_dynamic)."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = source.with_name("prepared.onnx")
    quant_pre_process(
        source, prepared, skip_symbolic_shape=True
    )  # which gives up on two dynamic axes (onnxruntime 1.32)
    graph = onnx.load(prepared).graph
    dimensions = {weight.name: len(weight.dims) for weight in graph.initializer}
    # onnxruntime 1.32 has no kernel for a stack of matrices with one scale per channel; the last layer's two are small.
    stacked = [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and any(dimensions.get(name, 2) > 2 for name in node.input)
    ]
    quantize_dynamic(
        prepared,
        directory / ONNX_FILE,
        op_types_to_quantize=[ONNX_OPS[op_type] for op_type in quantized],
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=stacked,
    )


def _openvino_int8(
    source: Path, directory: Path, calibration: Calibration, quantized: Sequence[str]
) -> None:
    """Quantize weights per channel and activations by their ranges on the calibration texts (nncf.quantize)."""
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
    )

    rows = nncf.Dataset(calibration, lambda row: dict(zip(INPUTS, pad([row], 0), strict=True)))
    with contextlib.redirect_stdout(
        io.StringIO()
    ):  # nncf 3.4 draws progress bars and takes no option against it
        quantized_model = nncf.quantize(
            openvino.Core().read_model(source),
            rows,
            subset_size=len(calibration),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.PERFORMANCE,
            ignored_scope=nncf.IgnoredScope(
                types=["Gather"] if "Embedding" not in quantized else []
            ),
            # SmoothQuant would move scales between the weights that QAT has placed and their inputs.
            advanced_parameters=AdvancedQuantizationParameters(
                smooth_quant_alphas=AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
            ),
        )
    openvino.save_model(quantized_model, directory / OPENVINO_FILE, compress_to_fp16=False)


def _save_tokenizer(tokenizer: PreTrainedTokenizerFast, max_length: int, directory: Path) -> None:
    """Save the tokenizer with its cut written into tokenizer.json, where every user of that file finds it."""
    tokenizer.save_pretrained(directory)
    file = str(directory / TOKENIZER_FILE)
    cutting = Tokenizer.from_file(file)
    cutting.enable_truncation(max_length)
    cutting.no_padding()
    cutting.save(file)


WRITERS: Mapping[str, Callable[[Path, Path, Calibration, Sequence[str]], None]] = {
    "onnx_fp32": _onnx_fp32,
    "onnx_int8": _onnx_int8,
    "openvino_int8": _openvino_int8,
}
