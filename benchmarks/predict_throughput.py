"""Measure `python -m pipeline.predict` on 60,000 short texts against the bare runtime.

python benchmarks/predict_throughput.py [--model DIR] [--texts FILE] [--threads N]

All classify the same texts in one process, taking turns, without imports and loading. The runtime
alone gets ready-made batches of 32, sorted by length over all texts: with all threads in one call,
and with a call for each thread. predict has to reach 0.93 of the better of the two. The wall time
of the whole command is printed beside them.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd
from _inputs import CORPUS, newest_artifacts
from _process import measure
from _promises import Promise, print_promises
from tokenizers import Tokenizer

from pipeline.bulk.lines import json_lines
from pipeline.console.command_line import exit_code
from pipeline.cpus import available_cpus
from pipeline.inference.classifier import BATCH_SIZE, TOKENIZER_FILE, TextClassifier, pad
from pipeline.inference.session import Session, open_session
from pipeline.names import OPENVINO_INT8

COUNT = 60_000


@dataclass(frozen=True)
class Times:
    """How long each repetition took, in seconds.

    Args:
        one_call_s: the runtime alone, with all threads in one call.
        calls_s: the runtime alone, with a call for each thread.
        predict_s: what predict does, from texts to lines.
    """

    one_call_s: Sequence[float]
    calls_s: Sequence[float]
    predict_s: Sequence[float]

    def per_s(self) -> tuple[float, ...]:
        """Return the median texts a second of each."""
        times = (self.one_call_s, self.calls_s, self.predict_s)
        return tuple(COUNT / statistics.median(each) for each in times)


def main() -> int:
    """Measure both, and print the ratio beside its promise.

    Returns:
        The exit code: 1 if the promise is broken.
    """
    options = parser().parse_args()
    model = options.model or newest_artifacts() / OPENVINO_INT8
    rows = pd.read_csv(options.texts)["text"]
    texts = list(islice(cycle(" ".join(text.split()) for text in rows), COUNT))
    tokens = tokens_by_length(model, texts)
    times = measure_turns(model, texts, tokens, options)
    mean_length = np.mean([len(row) for row in tokens])
    print(f"{mean_length:.1f} tokens a text, {options.threads} thread(s)")
    one_call, calls, predict = times.per_s()
    print(f"runtime alone, one call: {one_call:,.0f} texts/s; a call a thread: {calls:,.0f}")
    print(f"predict: {predict:,.0f}; the whole command: {command_s(model, texts):.2f} s")
    ratio = statistics.median(
        min(alone) / predict_s
        for *alone, predict_s in zip(times.one_call_s, times.calls_s, times.predict_s, strict=True)
    )
    figure = "predict's throughput over the better of the two, median"
    return print_promises([Promise(figure, ratio, 0.93, bound="at least")])


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--model",
        metavar="DIR",
        type=Path,
        help="directory with model.onnx or openvino_model.xml "
        f"(default: {OPENVINO_INT8} of the newest run)",
    )
    command.add_argument(
        "--texts",
        metavar="FILE",
        default=f"{CORPUS}/test.csv",
        help="CSV with a column text, repeated to 60,000 rows (default: %(default)s)",
    )
    command.add_argument(
        "--threads",
        metavar="N",
        type=int,
        default=available_cpus(),
        help="threads (default: one for each CPU)",
    )
    command.add_argument(
        "--repetitions",
        metavar="N",
        type=int,
        default=5,
        help="number of turns (default: %(default)s)",
    )
    return command


def tokens_by_length(model: Path, texts: Sequence[str]) -> list[list[int]]:
    """Turn texts into token ids, the shortest text first.

    Args:
        model: model directory, for its tokenizer.
        texts: texts to encode.
    """
    tokenizer = Tokenizer.from_file(str(model / TOKENIZER_FILE))
    return sorted((encoding.ids for encoding in tokenizer.encode_batch(texts)), key=len)


def measure_turns(
    model: Path,
    texts: Sequence[str],
    tokens: Sequence[Sequence[int]],
    options: argparse.Namespace,
) -> Times:
    """Time the runtime, in both ways, and predict in turns.

    Args:
        model: model directory.
        texts: texts for predict.
        tokens: token ids of the same texts for the runtime, sorted by length.
        options: the command line, for the threads and the repetitions.
    """
    classifier = TextClassifier(model, 1, options.threads)
    one_call, calls = open_session(model, options.threads), open_session(model, 1, options.threads)
    batches = [pad(tokens[start : start + BATCH_SIZE], 0) for start in range(0, COUNT, BATCH_SIZE)]
    write = json_lines(classifier.label_names, scores=False)
    works: tuple[Callable[[], object], ...] = (
        lambda: scored(one_call, batches, 1),
        lambda: scored(calls, batches, options.threads),
        lambda: [write(answer) for answer in classifier.stream(texts)],
    )
    times: list[list[float]] = [[] for _ in works]
    for _ in range(options.repetitions):
        for work, seconds in zip(works, times, strict=True):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
    return Times(*times)


def scored(
    session: Session, batches: Sequence[tuple[np.ndarray, np.ndarray]], calls: int
) -> list[np.ndarray]:
    """Score ready-made batches.

    Args:
        session: the runtime.
        batches: input_ids and attention_mask of each.
        calls: calls that are made at once.
    """
    with ThreadPoolExecutor(calls) as threads:
        return list(threads.map(lambda batch: session(*batch), batches))


def command_s(model: Path, texts: Sequence[str]) -> float:
    """Measure the wall time of the whole command, in seconds.

    Args:
        model: model directory.
        texts: texts that it reads from a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.txt"
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        inputs = ["--model", str(model.absolute()), "--file", str(file)]
        return measure("-m", "pipeline.predict", *inputs).wall_s


if __name__ == "__main__":
    sys.exit(exit_code(main))
