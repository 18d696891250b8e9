"""What `python -m pipeline.predict` makes of 10,000 short texts, against the bare runtime on the same texts in token batches.

python benchmarks/predict_throughput.py [--model DIR] [--texts FILE] [--threads N]

Both in one process, taking turns, without imports and loading; the runtime alone gets ready-made batches of 32, sorted by
length over all texts. The wall time of the whole command is printed beside them.
"""

import argparse
import statistics
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd
from _process import conclude, measure, newest_run
from tokenizers import Tokenizer

from pipeline.inference.classifier import (
    BATCH_SIZE,
    TOKENIZER_FILE,
    TextClassifier,
    open_session,
    pad,
)
from pipeline.predict import json_lines

COUNT = 10_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        type=Path,
        help="with model.onnx or openvino_model.xml (default: openvino_int8 of the newest run)",
    )
    parser.add_argument(
        "--texts",
        default="assets/reviews/test.csv",
        help="CSV with a column text, repeated to 10,000 rows",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    model = options.model or newest_run() / "openvino_int8"
    texts = list(
        islice(cycle(" ".join(text.split()) for text in pd.read_csv(options.texts)["text"]), COUNT)
    )
    classifier = TextClassifier(model, options.threads)
    session = open_session(model, options.threads)
    tokens = sorted(
        (
            encoding.ids
            for encoding in Tokenizer.from_file(str(model / TOKENIZER_FILE)).encode_batch(texts)
        ),
        key=len,
    )
    batches = [pad(tokens[start : start + BATCH_SIZE], 0) for start in range(0, COUNT, BATCH_SIZE)]
    show = json_lines(classifier.label_names, scores=False)
    raw_s, predict_s = [], []
    for _ in range(options.repetitions):
        started = time.perf_counter()
        for batch in batches:
            session(*batch)
        raw_s.append(time.perf_counter() - started)
        started = time.perf_counter()
        lines = [show(answer) for answer in classifier.stream(texts)]
        predict_s.append(time.perf_counter() - started)
    assert len(lines) == COUNT
    print(f"{np.mean([len(row) for row in tokens]):.1f} tokens a text, {options.threads} thread(s)")
    print(
        f"runtime alone: {COUNT / statistics.median(raw_s):,.0f} texts/s; predict: {COUNT / statistics.median(predict_s):,.0f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.txt"
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        whole = measure(
            "-m", "pipeline.predict", "--model", str(model.absolute()), "--file", str(file)
        )
    print(f"the whole command: {whole.wall_s:.2f} s")
    ratio = statistics.median(
        raw / predicted for raw, predicted in zip(raw_s, predict_s, strict=True)
    )
    conclude([("predict's throughput over the runtime's, median", ratio, "", 0.8)], at_least=True)


if __name__ == "__main__":
    main()
