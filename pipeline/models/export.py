"""Export a trained classifier to directories for ONNX Runtime and OpenVINO.

Each runtime's own quantizer makes the INT8 formats from the QAT-trained float weights, which have
learned to lie well on an INT8 grid. Neural Compressor's converted model would carry over quantized
Linear outputs and LayerNorms as well, which neither runtime runs faster.
"""

import contextlib
import io
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pipeline.errors import PipelineError, first_line
from pipeline.inference.classifier import PAIRS_KEY, TOKENIZER_FILE, pad
from pipeline.inference.session import MAX_LENGTH, ONNX_FILE, OPENVINO_FILE, import_openvino
from pipeline.models.artifact import Artifact
from pipeline.models.inference_graph import TYPES_INPUT, inference_graph
from pipeline.names import ONNX_FP32, ONNX_INT8, OPENVINO_INT8

OPSET = 17
EXAMPLE_TOKENS = 8
INPUTS = ("input_ids", "attention_mask")
ONNX_OPS = {"Linear": "MatMul", "Embedding": "Gather"}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportSettings:
    """What the exports of a model have in common.

    Args:
        tokenizer: tokenizer of the model.
        max_length: tokens that texts are cut at.
        calibration: token ids of training texts, for the ranges of activations.
        int8_op_types: op types that become INT8, out of Embedding and Linear.
        pairs: whether the model classifies pairs of texts.
    """

    tokenizer: PreTrainedTokenizerFast
    max_length: int
    calibration: Sequence[Sequence[int]]
    int8_op_types: Sequence[str]
    pairs: bool = False

    @property
    def sep_token_id(self) -> int | None:
        """The id by which the graph finds a second text (separator_of)."""
        return separator_of(self.tokenizer, pairs=self.pairs)


def export(
    model: PreTrainedModel, settings: ExportSettings, formats: Sequence[str], folder: Path
) -> list[Artifact]:
    """Write a directory for each format: model, config, and a tokenizer that cuts as in training.

    Args:
        model: trained float classifier.
        settings: tokenizer and quantization.
        formats: formats to write, out of onnx_fp32, onnx_int8 and openvino_int8.
        folder: existing directory; each format gets a folder of its name.

    Raises:
        PipelineError: the architecture cannot be exported.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as scratch:
        source = Path(scratch) / ONNX_FILE
        _export_graph(model, source, settings.max_length, settings.sep_token_id)
        if settings.pairs:
            model.config.update({PAIRS_KEY: True})
        artifacts = []
        for name in formats:
            directory = folder / name
            directory.mkdir()
            WRITERS[name](source, directory, settings)
            model.config.save_pretrained(directory)
            _save_tokenizer(settings.tokenizer, settings.max_length, directory)
            artifacts.append(Artifact(name, directory))
            log.info("exported %s: %.1f MB", name, artifacts[-1].size_mb)
    return artifacts


def separator_of(tokenizer: PreTrainedTokenizerFast, *, pairs: bool) -> int | None:
    """Return the id of the token between two texts, if the model tells them apart by token types.

    Args:
        tokenizer: tokenizer of the model.
        pairs: whether the model classifies pairs of texts.

    Returns:
        The id; None for single texts, and for a tokenizer that gives no token types: the model was
        then trained without them, whatever its table holds.
    """
    if not pairs or TYPES_INPUT not in tokenizer.model_input_names:
        return None
    separator: int | None = tokenizer.sep_token_id
    return separator


def check_exportable(
    model: PreTrainedModel, max_length: int, sep_token_id: int | None = None
) -> None:
    """Export a model on trial, so that a run fails before it trains what it cannot export.

    Args:
        model: float classifier.
        max_length: tokens that texts are cut at.
        sep_token_id: separator's id for a model of text pairs (separator_of).

    Raises:
        PipelineError: the architecture cannot be exported.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as scratch:
        _export_graph(model, Path(scratch) / ONNX_FILE, max_length, sep_token_id)


def to_onnx(graph: torch.nn.Module, file: Path, tokens: int = EXAMPLE_TOKENS) -> None:
    """Write a module to an ONNX file with any batch size and length.

    Args:
        graph: module from input_ids and attention_mask, both (batch, tokens) int64, to logits
            (batch, num_labels).
        file: file to write.
        tokens: length of the texts that it is traced with.
    """
    example = torch.ones(2, tokens, dtype=torch.long)
    dynamic = {0: "batch", 1: "tokens"}
    with torch.no_grad():
        torch.onnx.export(
            graph,
            (example, example),
            str(file),
            dynamo=False,  # the two quantizers below were measured on this exporter's graphs
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes={"input_ids": dynamic, "attention_mask": dynamic, "logits": {0: "batch"}},
        )


def _export_graph(
    model: PreTrainedModel, file: Path, max_length: int, sep_token_id: int | None
) -> None:
    graph = inference_graph(model, max_length, sep_token_id)
    try:
        to_onnx(graph, file, min(EXAMPLE_TOKENS, max_length))
    except (
        AttributeError,
        RuntimeError,
        TypeError,
        ValueError,
        torch.onnx.errors.OnnxExporterError,
    ) as error:  # what models raise for a batch that they do not take
        raise PipelineError(
            f"{model.config.model_type} cannot be exported to ONNX; choose export=none. "
            f"{first_line(error)}"
        ) from error


def _onnx_fp32(source: Path, directory: Path, settings: ExportSettings) -> None:
    shutil.copy(source, directory / ONNX_FILE)


def _onnx_int8(source: Path, directory: Path, settings: ExportSettings) -> None:
    from pipeline.models.onnx_int8 import quantize_onnx

    operators = [ONNX_OPS[op_type] for op_type in settings.int8_op_types]
    quantize_onnx(source, directory / ONNX_FILE, settings.calibration, operators)


def _openvino_int8(source: Path, directory: Path, settings: ExportSettings) -> None:
    """Quantize weights per channel, and activations by their ranges on the calibration texts.

    (nncf.quantize)
    """
    openvino = import_openvino()  # before nncf, which imports it as well
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
    )

    rows = nncf.Dataset(
        settings.calibration, lambda row: dict(zip(INPUTS, pad([row], 0), strict=True))
    )
    float_types = [] if "Embedding" in settings.int8_op_types else ["Gather"]
    # SmoothQuant would move scales between the weights that QAT has placed and their inputs.
    without_smoothing = AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
    # nncf 3.4 draws progress bars and takes no option against it.
    with contextlib.redirect_stdout(io.StringIO()):
        quantized_model = nncf.quantize(
            openvino.Core().read_model(source),
            rows,
            subset_size=len(settings.calibration),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.PERFORMANCE,
            ignored_scope=nncf.IgnoredScope(types=float_types),
            advanced_parameters=AdvancedQuantizationParameters(
                smooth_quant_alphas=without_smoothing
            ),
        )
    quantized_model.set_rt_info(settings.max_length, list(MAX_LENGTH))
    openvino.save_model(quantized_model, directory / OPENVINO_FILE, compress_to_fp16=False)


def _save_tokenizer(tokenizer: PreTrainedTokenizerFast, max_length: int, directory: Path) -> None:
    """Save the tokenizer with its cut, where tokenizers and where transformers read it."""
    cut = copy(tokenizer)
    cut.model_max_length = max_length
    cut.save_pretrained(directory)
    file = str(directory / TOKENIZER_FILE)
    cutting = Tokenizer.from_file(file)
    cutting.enable_truncation(max_length, direction=tokenizer.truncation_side)
    cutting.no_padding()
    cutting.save(file)


WRITERS: Mapping[str, Callable[[Path, Path, ExportSettings], None]] = {
    ONNX_FP32: _onnx_fp32,
    ONNX_INT8: _onnx_int8,
    OPENVINO_INT8: _openvino_int8,
}
