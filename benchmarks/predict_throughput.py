"""Measure `python -m pipeline.predict` on 10,000 short texts against the bare runtime.

python benchmarks/predict_throughput.py [--model DIR] [--texts FILE] [--threads N]

Both classify the same texts in one process, taking turns, without imports and loading; the runtime
alone gets ready-made batches of 32, sorted by length over all texts. The wall time of the whole
command is printed beside them.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd
from _inputs import CORPUS, newest_artifacts
from _process import measure
from _promises import Promise, print_promises
from tokenizers import Tokenizer

from pipeline.console.command_line import exit_code
from pipeline.inference.classifier import BATCH_SIZE, TOKENIZER_FILE, TextClassifier, pad
from pipeline.inference.session import open_session
from pipeline.names import OPENVINO_INT8
from pipeline.predict import json_lines

COUNT = 10_000


@dataclass(frozen=True)
class Times:
    """How long each repetition took, in seconds.

    Args:
        runtime_s: the runtime alone.
        predict_s: what predict does, from texts to lines.
    """

    runtime_s: Sequence[float]
    predict_s: Sequence[float]


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
    runtime_per_s = COUNT / statistics.median(times.runtime_s)
    predict_per_s = COUNT / statistics.median(times.predict_s)
    print(f"runtime alone: {runtime_per_s:,.0f} texts/s; predict: {predict_per_s:,.0f}")
    print(f"the whole command: {command_s(model, texts):.2f} s")
    ratio = statistics.median(
        runtime_s / predict_s
        for runtime_s, predict_s in zip(times.runtime_s, times.predict_s, strict=True)
    )
    figure = "predict's throughput over the runtime's, median"
    return print_promises([Promise(figure, ratio, 0.8, bound="at least")])


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
        help="CSV with a column text, repeated to 10,000 rows (default: %(default)s)",
    )
    command.add_argument(
        "--threads",
        metavar="N",
        type=int,
        default=1,
        help="threads of the runtime (default: %(default)s)",
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
    """Time the runtime and predict in turns.

    Args:
        model: model directory.
        texts: texts for predict.
        tokens: token ids of the same texts for the runtime, sorted by length.
        options: the command line, for the threads and the repetitions.
    """
    classifier = TextClassifier(model, options.threads)
    session = open_session(model, options.threads)
    batches = [pad(tokens[start : start + BATCH_SIZE], 0) for start in range(0, COUNT, BATCH_SIZE)]
    write = json_lines(classifier.label_names, scores=False)
    runtime_s, predict_s = [], []
    for _ in range(options.repetitions):
        started = time.perf_counter()
        for batch in batches:
            session(*batch)
        runtime_s.append(time.perf_counter() - started)
        started = time.perf_counter()
        lines = [write(answer) for answer in classifier.stream(texts)]
        predict_s.append(time.perf_counter() - started)
        assert len(lines) == COUNT
    return Times(runtime_s, predict_s)


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
