"""Load one artifact, then time calls as the benchmark asks: one process of it.

python -m pipeline.evaluation.benchmark_worker VARIANT DIRECTORY THREADS TEXTS_FILE
"""

import importlib
import inspect
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from pipeline.console import third_parties
from pipeline.errors import PipelineError
from pipeline.inference.classifier import (
    pad,
    pad_token_id,
    read_config,
    read_tokenizer,
)
from pipeline.inference.session import ONNX_FILE, open_session
from pipeline.names import FP32, INT8, LINEAR, TEACHER

MIN_CALLS = 5
MAX_SECONDS = 4.0  # of one turn at one shape, however slow the model
WARM_UP_CALLS = 3  # or as many as a turn takes
BATCHES_IN_TURN = 64  # batches of different texts that a turn goes round in
TORCH_VARIANTS = frozenset({TEACHER, FP32, INT8})

Call = Callable[..., object]
Batch = tuple[object, ...]  # the arguments of a call
Shape = tuple[int, int | None]
Rows = Sequence[Sequence[int]]


def _work(variant: str, directory: Path, threads: int, texts_file: Path) -> None:
    # JSON lines go to the real standard output; whatever a library prints goes to the errors.
    answers, sys.stdout = sys.stdout, sys.stderr
    make = _batches(variant, directory, texts_file)
    call: Call = _nothing_loaded
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, object]
        if "load" in request:
            importlib.import_module(_library(variant, directory))
            started = time.perf_counter()
            call = _load(variant, directory, threads)
            call(*make((1, None), 0))
            answer = {"load_s": time.perf_counter() - started}
        elif "end" in request:
            answer = {"peak_mb": _peak_mb()}
        else:
            shape = (request["batch"], request["tokens"])
            batches = [make(shape, index) for index in range(BATCHES_IN_TURN)]
            answer = {"times_s": _turn(call, batches, request["seconds"])}
        print(json.dumps(answer), file=answers, flush=True)


def _batches(variant: str, directory: Path, texts_file: Path) -> Callable[[Shape, int], Batch]:
    """Return what makes the batch of a shape and number: of texts, or of their tokens."""
    corpus = json.loads(texts_file.read_text(encoding="utf-8"))
    if variant == LINEAR:
        return partial(make_texts, corpus["texts"])
    tokenizer = read_tokenizer(directory)
    if corpus["max_length"] is not None:
        tokenizer.enable_truncation(corpus["max_length"])
    rows = [encoding.ids for encoding in tokenizer.encode_batch(corpus["texts"])]
    return partial(make_batch, rows, pad_token_id(read_config(directory)))


def _peak_mb() -> float:
    """Return the largest resident set of this process, in MB of 1,000,000 bytes.

    Linux's ru_maxrss would count the memory of the parent that this process was forked from.
    """
    status = Path("/proc/self/status")
    if not status.is_file():  # macOS, whose ru_maxrss is in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    lines = status.read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


def _nothing_loaded(*_: object) -> object:
    raise RuntimeError("the first request has to be load")


def _turn(call: Call, batches: Sequence[Batch], seconds: float) -> list[float]:
    warm_until = time.perf_counter() + seconds
    for batch in batches[:WARM_UP_CALLS]:
        call(*batch)
        if time.perf_counter() > warm_until:
            break
    times: list[float] = []
    spent = 0.0
    while spent < MAX_SECONDS and (spent < seconds or len(times) < MIN_CALLS):
        batch = batches[len(times) % len(batches)]
        started = time.perf_counter()
        call(*batch)
        times.append(time.perf_counter() - started)
        spent += times[-1]
    return times


def make_texts(texts: Sequence[str], shape: Shape, index: int) -> tuple[list[str]]:
    """Make a batch of consecutive texts, or of their words strung together to a given number.

    Args:
        texts: the texts.
        shape: texts in the batch, and words of each; None leaves the texts as they are.
        index: number of the batch, which decides the text that it starts with.
    """
    batch, words = shape
    if words is None:
        return ([texts[(index * batch + row) % len(texts)] for row in range(batch)],)
    start = index % len(texts)
    in_order = " ".join((*texts[start:], *texts[:start])).split()
    strung = islice(cycle(in_order), batch * words)
    return ([" ".join(islice(strung, words)) for _ in range(batch)],)


def make_batch(rows: Rows, pad_token_id: int, shape: Shape, index: int) -> Batch:
    """Make a batch of consecutive texts, or of their tokens strung together to a given length.

    Args:
        rows: token ids of each text.
        pad_token_id: id that fills the shorter texts.
        shape: texts in the batch, and tokens of each; None leaves the texts as they are.
        index: number of the batch, which decides the text that it starts with.

    Returns:
        input_ids and attention_mask, both (batch, tokens) int64.
    """
    batch, tokens = shape
    if tokens is None:
        texts = [rows[(index * batch + row) % len(rows)] for row in range(batch)]
        return pad(texts, pad_token_id)
    start = index % len(rows)
    in_order = (*rows[start:], *rows[:start])
    inner = [token for row in in_order for token in row[1:-1]] or [pad_token_id]
    ids = np.resize(np.array(inner, np.int64), (batch, tokens))
    ids[:, 0], ids[:, -1] = rows[0][0], rows[0][-1]
    return ids, np.ones_like(ids)


def _library(variant: str, directory: Path) -> str:
    if variant == LINEAR:
        return "pipeline.baseline.linear"
    if variant in TORCH_VARIANTS:
        return "pipeline.models.artifact"
    return "onnxruntime" if (directory / ONNX_FILE).is_file() else "openvino"


def _load(variant: str, directory: Path, threads: int) -> Call:
    if variant == LINEAR:  # scikit-learn computes it on one thread
        from pipeline.baseline.linear import LinearClassifier

        return LinearClassifier(directory).probabilities
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
        # Without them the model takes a view, which the INT8 embedding of torch 2.13 refuses.
        if takes_token_types:
            inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        with torch.inference_mode():
            return model(**inputs)

    return run


if __name__ == "__main__":
    third_parties.prepare()
    try:
        _work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    except PipelineError as error:  # the benchmark quotes the last line
        sys.exit(str(error))
