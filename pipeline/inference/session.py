"""Open the model of a deployed directory in ONNX Runtime or OpenVINO; refuse pickles."""

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from pipeline.cpus import available_cpus
from pipeline.errors import PipelineError, first_line
from pipeline.inference.exact_sums import sums_are_exact

ONNX_FILE = "model.onnx"
OPENVINO_FILE = "openvino_model.xml"
OPENVINO_WEIGHTS = "openvino_model.bin"
MLFLOW_FILE = "MLmodel"
PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
MAX_LENGTH = ("text_classifier", "max_length")  # where an OpenVINO file has it
# OpenVINO prepares anew for each length that it has not seen, which takes several times as long as
# the answer; so texts are filled up to a multiple of this.
STEP = 4
LISTED_FILES = 8  # that an error names
EXACT_SUMS = "session.x64quantprecision"
SHARED_WEIGHT = "Attempt to replace the existing tensor"
log = logging.getLogger(__name__)

Session = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""input_ids and attention_mask, (batch, tokens) int64, to logits (batch, num_labels) float32."""


def open_session(directory: Path, threads: int = 0, calls: int = 1) -> Session:
    """Load the model of a directory.

    Args:
        directory: directory with model.onnx, or openvino_model.xml and openvino_model.bin.
        threads: threads of one call; 0 takes as many as this process has CPUs.
        calls: calls that are worked on at once; further ones wait.

    Raises:
        PipelineError: the directory cannot be read, holds a pickle or no model, the file is
            damaged, or its runtime is not installed.
    """
    file = _model_file(directory)
    if file.name == ONNX_FILE:
        return _onnx_session(file, threads or available_cpus())
    return _openvino_session(file, threads or available_cpus(), calls)


def _model_file(directory: Path) -> Path:
    """Find the file of a directory's model, beside which there is no pickle."""
    # Path.is_dir() raises below a folder that may not be entered, and for a name that is too long.
    if not os.path.isdir(directory):  # noqa: PTH112
        raise PipelineError(f"{directory} is not a directory.")
    try:
        files = sorted(file.name for file in directory.iterdir())
        refuse_pickles(directory)
        for name in (ONNX_FILE, OPENVINO_FILE):
            if (directory / name).is_file():
                return directory / name
    except OSError as error:
        raise PipelineError(f"{directory} cannot be read: {error.strerror}.") from error
    more = f" and {len(files) - LISTED_FILES} more" if len(files) > LISTED_FILES else ""
    listed = ", ".join(files[:LISTED_FILES]) or "nothing"
    raise PipelineError(
        f"{directory} holds neither {ONNX_FILE} nor {OPENVINO_FILE}; it holds: {listed}{more}."
    )


def refuse_pickles(directory: Path) -> None:
    """Stop at a file that runs code when it is loaded.

    Args:
        directory: directory of a model, searched with its folders. Of a directory without a model,
            which may be anything, such as a home directory, only the top is searched.

    Raises:
        PipelineError: there is such a file; the line names it.
    """
    names = (ONNX_FILE, OPENVINO_FILE, MLFLOW_FILE)
    is_model = any((directory / name).is_file() for name in names)
    for file in sorted(directory.rglob("*") if is_model else directory.glob("*")):
        if file.suffix.lower() in PICKLES and file.name != OPENVINO_WEIGHTS:
            raise PipelineError(
                f"{directory} holds {file.name}, a pickle: loading it can run any code. "
                f"Only directories with {ONNX_FILE} or {OPENVINO_FILE} are loaded; export=all "
                "makes both."
            )


def _max_length(model: Any) -> int:
    """Return the number of tokens that texts were cut at; 0 if the file does not say."""
    path = list(MAX_LENGTH)
    return int(model.get_rt_info(path).astype(int)) if model.has_rt_info(path) else 0


def import_openvino() -> Any:
    """Import OpenVINO, without the AMX instructions of Intel's servers unless the user allows them.

    With them, OpenVINO 2026.4 gives wrong answers in batches that 32 does not divide: 79 of 1,305
    labels flipped, and probabilities moved by up to 0.94. It is not slower without them. oneDNN
    reads the variable once, before it compiles a first model.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")  # all that comes before AMX
    import openvino

    return openvino


def _onnx_session(file: Path, threads: int) -> Session:
    try:
        session = _exact_onnx_session(file, threads)
    except Exception as error:  # onnxruntime's exceptions have no other common base
        raise PipelineError(
            f"{file} cannot be loaded by ONNX Runtime: {first_line(error)}"
        ) from error

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        logits: np.ndarray = session.run(None, inputs)[0]
        return logits

    return run


def _exact_onnx_session(file: Path, threads: int) -> Any:
    """Load a model whose sums are the same on every CPU, as far as ONNX Runtime can.

    By itself, onnxruntime 1.32 adds products of bytes in 16 bits on a CPU that has AVX2 and no
    VNNI, and cuts off what does not fit, so that answers move by up to 0.1. Right sums take 1.5
    times as long on such a CPU. The option slows others down as well, by 1.7 times with VNNI, and
    is left alone where nothing is cut off.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised as well
    load = partial(onnxruntime.InferenceSession, str(file), providers=["CPUExecutionProvider"])
    if sums_are_exact():
        return load(options)
    options.add_session_config_entry(EXACT_SUMS, "1")
    try:
        return load(options)
    except Exception as error:
        # onnxruntime 1.32 stumbles over a signed weight that several products read, as in ALBERTs
        # that were exported elsewhere; exports from here have none.
        if SHARED_WEIGHT not in str(error):
            raise
        log.warning(
            "%s: products share weights, which ONNX Runtime adds inexactly on this CPU without "
            "VNNI; probabilities can be up to 0.1 away from those on other CPUs.",
            file,
        )
        options.add_session_config_entry(EXACT_SUMS, "0")
        return load(options)


def _openvino_session(file: Path, threads: int, calls: int) -> Session:
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise PipelineError(
            f"{file} needs OpenVINO, which is not installed: pip install openvino."
        ) from error
    # A stream for each call, which uses its threads. f32: what is not INT8 stays as it was
    # evaluated, on a CPU with bf16 as well.
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": str(calls),
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(threads * calls),
    }
    # A request serves one call at a time; ONNX Runtime's session serves any number.
    free: SimpleQueue[Any] = SimpleQueue()
    try:
        core = openvino.Core()
        model = core.read_model(str(file))
        longest = _max_length(model)
        compiled = core.compile_model(model, "CPU", settings)
        for _ in range(calls):
            free.put(compiled.create_infer_request())
    except RuntimeError as error:
        raise PipelineError(f"{file} cannot be loaded by OpenVINO: {first_line(error)}") from error

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        tokens = input_ids.shape[1]
        more = min(-(-tokens // STEP) * STEP, longest) - tokens
        if more > 0:
            input_ids, attention_mask = (
                np.pad(each, ((0, 0), (0, more))) for each in (input_ids, attention_mask)
            )
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        # OpenVINO reads their memory.
        inputs = {
            name: np.require(values, np.int64, ["C_CONTIGUOUS", "WRITEABLE"])
            for name, values in given.items()
        }
        request = free.get()
        try:
            # infer() with a dict of arrays (OpenVINO 2026.4) takes 0.04 ms longer.
            for name, values in inputs.items():
                request.set_tensor(name, openvino.Tensor(values, shared_memory=True))
            request.infer()
            logits: np.ndarray = request.get_output_tensor().data.copy()
        finally:
            free.put(request)
        return logits

    return run
