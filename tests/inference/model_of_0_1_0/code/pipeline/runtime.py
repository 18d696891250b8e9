"""A deployed model directory to scores: ONNX Runtime or OpenVINO with its tokenizer; needs no torch and reads no pickle."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
from tokenizers import Tokenizer

from pipeline.errors import PipelineError

ONNX_FILE = "model.onnx"
OPENVINO_FILE = "openvino_model.xml"
OPENVINO_WEIGHTS = "openvino_model.bin"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "config.json"
MLFLOW_FILE = "MLmodel"
PAIRS_KEY = "text_pair"  # in config.json: the model classifies pairs of texts
PAIR_SEPARATOR = "\t"
SHOWN = 8  # files that an error names

PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
MAX_TEXT_CHARACTERS = 100_000  # a model reads the first few hundred; more is a file that was taken for a text
BATCH_SIZE = 32
_SURROGATE = re.compile("[\ud800-\udfff]")
WINDOW = 32 * BATCH_SIZE  # texts that are sorted by length before they are cut into batches

Session = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""input_ids and attention_mask, both (batch, tokens) int64, to logits (batch, num_labels) float32."""


def open_session(directory: Path, threads: int = 0) -> Session:
    """Load the model of a directory.

    Args:
        directory: with model.onnx, or openvino_model.xml and openvino_model.bin.
        threads: of one call; 0 leaves it to the runtime (all cores).

    Raises:
        PipelineError: the directory holds a pickle or no model, the file is damaged, or its runtime is not installed.
    """
    if not directory.is_dir():
        raise PipelineError(f"{directory} is not a directory.")
    refuse_pickles(directory)
    if (directory / ONNX_FILE).is_file():
        return _onnx_session(directory / ONNX_FILE, threads)
    if (directory / OPENVINO_FILE).is_file():
        return _openvino_session(directory / OPENVINO_FILE, threads)
    found = sorted(file.name for file in directory.iterdir())
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    held = ", ".join(found[:SHOWN]) or "nothing"
    raise PipelineError(f"{directory} holds neither {ONNX_FILE} nor {OPENVINO_FILE}; it holds: {held}{more}.")


def refuse_pickles(directory: Path) -> None:
    """Stop at a file that runs code when it is loaded.

    Args:
        directory: of a model. One without a model is looked at, not into: it may be anything, such as a home directory.

    Raises:
        PipelineError: naming the file.
    """
    is_model = any((directory / name).is_file() for name in (ONNX_FILE, OPENVINO_FILE, MLFLOW_FILE))
    for file in sorted(directory.rglob("*") if is_model else directory.glob("*")):
        if file.suffix.lower() in PICKLES and file.name != OPENVINO_WEIGHTS:
            raise PipelineError(
                f"{directory} holds {file.name}, a pickle: loading it can run any code. "
                f"Only directories with {ONNX_FILE} or {OPENVINO_FILE} are loaded; export=all makes both."
            )


def split_pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Split texts of pairs at their tab.

    Args:
        texts: both texts of a pair each, with a tab between them.

    Raises:
        PipelineError: a text has no tab.
    """
    pairs = []
    for text in texts:
        first, tab, second = text.partition(PAIR_SEPARATOR)
        if not tab:
            raise PipelineError(f"{text[:40]!r} is one text; this model takes pairs, with a tab between their texts.")
        pairs.append((first, second))
    return pairs


class TextClassifier:
    """A deployed model with its tokenizer: texts in, probabilities out.

    A model of pairs takes both texts of a pair as one, with a tab between them.

    Args:
        directory: as written by pipeline.export: the model, tokenizer.json (which cuts texts as in training), config.json.
        threads: of one call; 0 leaves it to the runtime.

    Raises:
        PipelineError: something is missing or damaged, or the directory holds a pickle.
    """

    def __init__(self, directory: Path, threads: int = 0) -> None:
        self._session = open_session(directory, threads)
        try:
            config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
            names = config["id2label"]
            self.label_names = tuple(str(names[str(index)]) for index in range(len(names)))
            self._pad_token_id = int(config["pad_token_id"])
            self._pairs = bool(config.get(PAIRS_KEY))
            self._tokenizer = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
            self._tokenizer.no_padding()
        except Exception as error:  # tokenizers 0.20 raises a bare Exception
            raise PipelineError(
                f"{directory} lacks a readable {CONFIG_FILE} with labels or {TOKENIZER_FILE}: {_first_line(error)}"
            ) from error

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Score texts.

        Args:
            texts: any number; what comes from outside goes through check_text first.

        Returns:
            (texts, num_labels), float32. A text's logits depend a little on the texts it is batched with: in the last digits
            by the order of sums, and by up to a few hundredths in onnx_int8, where a batch shares its activations' range.
        """
        given = split_pairs(texts) if self._pairs else list(texts)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(given)]
        by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        logits = np.empty((len(tokens), len(self.label_names)), np.float32)
        for start in range(0, len(tokens), BATCH_SIZE):
            rows = by_length[start : start + BATCH_SIZE]
            logits[rows] = self._session(*pad([tokens[row] for row in rows], self._pad_token_id))
        return logits

    def stream(self, texts: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Score texts one window after the other, so that they need not fit in memory.

        Args:
            texts: read as needed.

        Yields:
            Each text with its probabilities (num_labels,), in the order of texts.
        """
        remaining = iter(texts)
        while window := list(islice(remaining, WINDOW)):
            yield from zip(window, probabilities(self.logits(window)), strict=True)


def pad(rows: Sequence[Sequence[int]], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of several texts to one batch.

    Args:
        rows: token ids of each text.
        pad_token_id: fills the shorter ones.

    Returns:
        input_ids and attention_mask, both (rows, longest row), int64.
    """
    ids = np.full((len(rows), max(map(len, rows))), pad_token_id, np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def check_text(text: object, name: str) -> None:
    """Refuse what is no text that a classifier could read.

    Args:
        text: what was given.
        name: how the error calls it.

    Raises:
        PipelineError: not a string, empty, too long, or with half a character (what was no UTF-8 on the command line).
    """
    if not isinstance(text, str):
        raise PipelineError(f"{name} is {type(text).__name__}, not text.")
    if _SURROGATE.search(text):
        raise PipelineError(f"{name} is not UTF-8.")
    if not text.strip():
        raise PipelineError(f"{name} is empty.")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise PipelineError(f"{name} has {len(text):,} characters; at most {MAX_TEXT_CHARACTERS:,} are accepted.")


def _onnx_session(file: Path, threads: int) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but Exception
        raise PipelineError(f"{file} cannot be loaded by ONNX Runtime: {_first_line(error)}") from error

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        logits: np.ndarray = session.run(None, {"input_ids": input_ids, "attention_mask": attention_mask})[0]
        return logits

    return run


def _openvino_session(file: Path, threads: int) -> Session:
    try:
        import openvino
    except ImportError as error:
        raise PipelineError(f"{file} needs OpenVINO, which is not installed: pip install -e '.[openvino]'.") from error
    # One stream: a request uses all threads. f32: what is not INT8 stays as it was evaluated, on a CPU with bf16 as well.
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    try:
        request = openvino.Core().compile_model(str(file), "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise PipelineError(f"{file} cannot be loaded by OpenVINO: {_first_line(error)}") from error
    lock = Lock()  # a request serves one call at a time; ONNX Runtime's session needs no lock

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        with lock:
            answer = request.infer({"input_ids": input_ids, "attention_mask": attention_mask}, share_inputs=True)
            logits: np.ndarray = answer[0]
        return logits

    return run


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
