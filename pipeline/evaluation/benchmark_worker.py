"""One process of a benchmark: loads one artifact, then times calls as its parent asks.

python -m pipeline.evaluation.benchmark_worker VARIANT DIRECTORY THREADS TEXTS_FILE
"""

import importlib
import inspect
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from pipeline.console import quiet
from pipeline.inference.classifier import CONFIG_FILE, ONNX_FILE, TOKENIZER_FILE, open_session, pad

MIN_CALLS = 5
MAX_SECONDS = 4.0  # of one turn at one point, however slow the model
SHAPES = 64  # batches of different texts that a turn goes round in
TORCH_VARIANTS = frozenset({"fp32", "int8"})

Call = Callable[[np.ndarray, np.ndarray], object]
Rows = Sequence[Sequence[int]]


def _work(variant: str, directory: Path, threads: int, texts_file: Path) -> None:
    # JSON lines go to the real standard output; whatever a library prints goes to the errors.
    answers, sys.stdout = sys.stdout, sys.stderr
    rows, pad_token_id = _tokens(directory, texts_file)
    call: Call = _nothing_loaded
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, object]
        if "load" in request:
            importlib.import_module(_library(variant, directory))
            started = time.perf_counter()
            call = _load(variant, directory, threads)
            call(*make_batch(rows, pad_token_id, 1, 16, 0))
            answer = {"load_s": time.perf_counter() - started}
        elif "end" in request:
            answer = {"peak_mb": _peak_mb()}
        else:
            shapes = [
                make_batch(rows, pad_token_id, request["batch"], request["tokens"], index)
                for index in range(SHAPES)
            ]
            answer = {"times_s": _turn(call, shapes, request["seconds"])}
        print(json.dumps(answer), file=answers, flush=True)


def _tokens(directory: Path, texts_file: Path) -> tuple[Rows, int]:
    corpus = json.loads(texts_file.read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
    tokenizer.enable_truncation(corpus["max_length"])
    tokenizer.no_padding()
    pad_token_id = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))["pad_token_id"]
    return [encoding.ids for encoding in tokenizer.encode_batch(corpus["texts"])], pad_token_id


def _peak_mb() -> float:
    """Largest resident set of this process. Linux's ru_maxrss would count the parent's too, of which this one was forked."""
    status = Path("/proc/self/status")
    if not status.is_file():  # macOS, whose ru_maxrss is in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    (line,) = [
        line
        for line in status.read_text(encoding="utf-8").splitlines()
        if line.startswith("VmHWM:")
    ]
    return int(line.split()[1]) * 1024 / 1e6


def _nothing_loaded(input_ids: np.ndarray, attention_mask: np.ndarray) -> object:
    raise RuntimeError("the first request has to be load")


def _turn(
    call: Call, shapes: Sequence[tuple[np.ndarray, np.ndarray]], seconds: float
) -> list[float]:
    for shape in shapes[:3]:
        call(*shape)
    times: list[float] = []
    spent = 0.0
    while spent < MAX_SECONDS and (spent < seconds or len(times) < MIN_CALLS):
        shape = shapes[len(times) % len(shapes)]
        started = time.perf_counter()
        call(*shape)
        times.append(time.perf_counter() - started)
        spent += times[-1]
    return times


def make_batch(
    rows: Rows, pad_token_id: int, batch: int, tokens: int | None, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """One batch: consecutive texts of the corpus, or their tokens strung together to texts of a given length."""
    if tokens is None:
        return pad([rows[(index * batch + row) % len(rows)] for row in range(batch)], pad_token_id)
    start = index % len(rows)
    inner = [token for row in (*rows[start:], *rows[:start]) for token in row[1:-1]] or [
        pad_token_id
    ]
    first, last = rows[0][0], rows[0][-1]
    ids = np.resize(np.array(inner, np.int64), (batch, tokens))
    ids[:, 0], ids[:, -1] = first, last
    return ids, np.ones_like(ids)


def _library(variant: str, directory: Path) -> str:
    if variant in TORCH_VARIANTS:
        return "pipeline.models.artifact"
    return "onnxruntime" if (directory / ONNX_FILE).is_file() else "openvino"


def _load(variant: str, directory: Path, threads: int) -> Call:
    if variant not in TORCH_VARIANTS:
        return open_session(directory, threads)
    import torch

    from pipeline.models.artifact import Artifact, load

    torch.set_num_threads(threads)
    model = load(Artifact(variant, directory)).eval()
    takes_token_types = "token_type_ids" in inspect.signature(model.forward).parameters

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> object:
        inputs = {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
        }
        if (
            takes_token_types
        ):  # the model's own default is a view that torch 2.13's INT8 embedding refuses
            inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        with torch.inference_mode():
            return model(**inputs)

    return run


if __name__ == "__main__":
    quiet.third_parties()
    _work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
