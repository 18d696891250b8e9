"""Measure memory and time of reading a large corpus: read, checked, split, digested, tokenized.

python benchmarks/large_corpus.py [--rows N]

Each format is read by a process of its own, which imports what a run does. Its peak memory counts
the pages of files that are mapped into memory.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from _inputs import ENCODER
from _process import measure
from _promises import Promise, print_promises

WORDS_A_ROW = 20
CLASSES = 20
SUFFIXES = (".csv", ".jsonl", ".parquet")
PEAK_MB = 3000


def main() -> int:
    """Measure each format, and print the peak beside its promise.

    Returns:
        The exit code: 1 if the promise is broken.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)s")
    rows = parser.parse_args().rows
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        frame = table(rows, WORDS_A_ROW)
        for suffix in SUFFIXES:
            file = Path(folder) / f"train{suffix}"
            write(frame, file)
            measured = measure("benchmarks/_read_corpus.py", str(file), str(ENCODER))
            print(
                f"{suffix:10} {measured.output.strip()}; {measured.wall_s:.0f} s in all", flush=True
            )
            peaks[suffix] = measured.peak_mb
            file.unlink()
    figure = f"peak memory with {rows:,} rows of {WORDS_A_ROW} words, {{}}"
    return print_promises(
        [Promise(figure.format(suffix), peak, PEAK_MB, " MB") for suffix, peak in peaks.items()]
    )


def table(rows: int, words_a_row: int, seed: int = 0) -> pd.DataFrame:
    """Make texts of random words of the encoder's vocabulary, and random classes.

    Args:
        rows: number of texts.
        words_a_row: words of each text.
        seed: seed of the words and the classes.
    """
    rng = np.random.default_rng(seed)
    vocabulary = (Path(ENCODER) / "vocab.txt").read_text(encoding="utf-8").split("\n")
    words = [word for word in vocabulary if word.isascii() and word.isalpha()]
    chosen = rng.integers(0, len(words), (rows, words_a_row))
    texts = [" ".join(map(words.__getitem__, row)) for row in chosen]
    return pd.DataFrame({"text": texts, "label": rng.integers(0, CLASSES, rows).astype(str)})


def write(frame: pd.DataFrame, file: Path) -> None:
    """Write a table in the format that the file's name ends with."""
    if file.suffix == ".csv":
        frame.to_csv(file, index=False)
    elif file.suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    else:
        frame.to_parquet(file, index=False)


if __name__ == "__main__":
    sys.exit(main())
