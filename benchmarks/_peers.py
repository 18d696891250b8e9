"""Build what people would deploy instead of the pipeline's exports, from the same fine-tune.

Each peer is a directory in the layout that pipeline.inference.classifier loads.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.data.corpus import Corpus
from pipeline.inference.classifier import MODEL_CONFIG_FILE, TOKENIZER_FILE, pad
from pipeline.inference.session import ONNX_FILE, OPENVINO_FILE
from pipeline.models.artifact import Artifact
from pipeline.models.export import INPUTS, to_onnx
from pipeline.models.inference_graph import Plain
from pipeline.names import FP32, ONNX_FP32, TRAIN

MAX_LENGTH = 128
CALIBRATION_TEXTS = 300
ORT_FP32 = "ort_fp32"
ORT_DYNAMIC_PTQ = "ort_dynamic_ptq"
OV_FP32 = "ov_fp32"
OV_NNCF_PTQ = "ov_nncf_ptq"
OPTIMUM_ORT_INT8 = "optimum_ort_int8"
OPTIMUM_OV_INT8 = "optimum_ov_int8"
PEERS = (ORT_FP32, ORT_DYNAMIC_PTQ, OV_FP32, OV_NNCF_PTQ, OPTIMUM_ORT_INT8, OPTIMUM_OV_INT8)
TOKEN_TYPES = "token_type_ids"  # which are zeros for a text by itself
STATIC_SCRIPT = Path(__file__).with_name("_static_embeddings.py")


@dataclass(frozen=True)
class StaticEmbeddings:
    """What model2vec's static embeddings under a linear head give.

    Args:
        accuracy: on the test split.
        size_mb: of embeddings, tokenizer and head.
        training_s: seconds to distill the embeddings and to train the head.
        p50_ms: median time of one text by its number of words, tokenizing included.
        texts_per_s: in batches of 32 texts of 32 words.
    """

    accuracy: float
    size_mb: float
    training_s: float
    p50_ms: Mapping[int, float]
    texts_per_s: float


def build_peers(run: Path, corpus: Corpus, folder: Path) -> list[Artifact]:
    """Build every peer.

    Args:
        run: artifacts of the run.
        corpus: texts, for NNCF's calibration.
        folder: folder to write to.
    """
    directories = {name: folder / name for name in PEERS}
    for directory in directories.values():
        directory.mkdir(parents=True)
        for name in (MODEL_CONFIG_FILE, TOKENIZER_FILE):
            (directory / name).write_bytes((run / ONNX_FP32 / name).read_bytes())
    _build_with_runtimes(run, corpus, directories)
    _build_with_optimum(run / FP32, folder / "optimum", directories)
    return [Artifact(name, directory) for name, directory in directories.items()]


def _build_with_runtimes(run: Path, corpus: Corpus, directories: Mapping[str, Path]) -> None:
    """Take each runtime's own converter and quantization with its defaults."""
    import nncf
    import openvino
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = AutoModelForSequenceClassification.from_pretrained(
        run / FP32, attn_implementation="eager"
    )
    source = directories[ORT_FP32] / ONNX_FILE
    to_onnx(Plain(model.eval()), source)
    quantize_dynamic(
        source,
        directories[ORT_DYNAMIC_PTQ] / ONNX_FILE,
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    graph = openvino.Core().read_model(source)
    openvino.save_model(graph, directories[OV_FP32] / OPENVINO_FILE, compress_to_fp16=False)
    calibration = nncf.Dataset(
        calibration_tokens(run / FP32, corpus),
        lambda row: dict(zip(INPUTS, pad([row], 0), strict=True)),
    )
    # nncf 3.4 draws progress bars and takes no option against it.
    with contextlib.redirect_stdout(io.StringIO()):
        int8_graph = nncf.quantize(graph, calibration, model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(
        int8_graph, directories[OV_NNCF_PTQ] / OPENVINO_FILE, compress_to_fp16=False
    )


def calibration_tokens(model: Path, corpus: Corpus) -> list[list[int]]:
    """Turn training texts into token ids.

    Args:
        model: model directory, for its tokenizer.
        corpus: texts and labels.
    """
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = corpus.splits[TRAIN].shuffle(seed=0)[:CALIBRATION_TEXTS]["text"]
    return [tokenizer(text, truncation=True, max_length=MAX_LENGTH)["input_ids"] for text in texts]


def _build_with_optimum(model: Path, scratch: Path, directories: Mapping[str, Path]) -> None:
    """Type what optimum's pages say: dynamic quantization, and OpenVINO's INT8 weights."""
    plain, quantized, weights = (scratch / name for name in ("onnx", "quantized", "openvino"))
    task = ["--model", str(model), "--task", "text-classification"]
    _optimum("export", "onnx", *task, str(plain))
    _optimum(
        "onnxruntime", "quantize", "--avx512_vnni", "--onnx_model", str(plain), "-o", str(quantized)
    )
    _optimum("export", "openvino", *task, "--weight-format", "int8", str(weights))
    graph = onnx.load(quantized / "model_quantized.onnx")
    _make_token_types_in_onnx(graph)
    onnx.save(graph, directories[OPTIMUM_ORT_INT8] / ONNX_FILE)
    _make_token_types_in_openvino(
        weights / OPENVINO_FILE, directories[OPTIMUM_OV_INT8] / OPENVINO_FILE
    )


def _optimum(*arguments: str) -> None:
    program = Path(sys.executable).with_name("optimum-cli")
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"optimum-cli {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")


def _make_token_types_in_onnx(model: onnx.ModelProto) -> None:
    """Let a graph make its token types itself, so that it takes what every other peer takes."""
    graph = model.graph
    for given in [each for each in graph.input if each.name == TOKEN_TYPES]:
        graph.input.remove(given)
        zeros = onnx.helper.make_node("Sub", [INPUTS[0], INPUTS[0]], [TOKEN_TYPES])
        graph.node.insert(0, zeros)


def _make_token_types_in_openvino(source: Path, target: Path) -> None:
    import openvino

    model = openvino.Core().read_model(source)
    by_name = {name: each for each in model.inputs for name in each.get_names()}
    if TOKEN_TYPES in by_name:
        parameter = by_name[TOKEN_TYPES].get_node()
        ids = by_name[INPUTS[0]].get_node().output(0)
        zeros = openvino.opset13.subtract(ids, ids)
        for reader in list(parameter.output(0).get_target_inputs()):
            reader.replace_source_output(zeros.output(0))
        model.remove_parameter(parameter)
    openvino.save_model(model, target, compress_to_fp16=False)


def static_embeddings(python: str, model: str, data: str, folder: Path) -> StaticEmbeddings:
    """Train and time static embeddings in another environment, on one thread.

    Args:
        python: interpreter with model2vec[distill], scikit-learn and pandas.
        model: directory of the encoder that they are distilled from.
        data: folder with train.csv and test.csv.
        folder: folder to make.
    """
    command = [python, str(STATIC_SCRIPT), model, data, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread())
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    measured = json.loads(done.stdout.splitlines()[-1])
    p50_ms = {int(length): value for length, value in measured.pop("p50_ms").items()}
    return StaticEmbeddings(**measured, p50_ms=p50_ms)


def one_thread() -> dict[str, str]:
    """Return this process's environment with one thread for every library."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(threads, "1")}
