"""Measure the memory of a whole run on a corpus that is larger than a machine should have to hold.

python benchmarks/large_training.py [--rows N] [KEY=VALUE ...]

The texts are of 8 random words, in one CSV file that the run splits. It trains a few steps, and
does everything else that a run does, with the linear model and the export. Peak memory counts the
pages of files that are mapped into memory.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from _inputs import ENCODER, tracking_overrides
from _process import measure
from _promises import Promise, print_promises
from large_corpus import table

WORDS_A_ROW = 8
ROWS_AT_A_TIME = 500_000
STEPS = 20
EVALUATED = 2000  # texts of validation and of test
PEAK_MB = 4000


def main() -> int:
    """Write the corpus, run, and print the peak beside its promise.

    Returns:
        The exit code: 1 if the promise is broken.
    """
    options, overrides = parser().parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.csv"
        write(file, options.rows)
        print(f"{options.rows:,} texts, {file.stat().st_size / 1e6:,.0f} MB", flush=True)
        measured = measure(
            "-m",
            "pipeline",
            f"model.name_or_path={Path(ENCODER).resolve()}",
            "dataset=files",
            f"dataset.train_file={file}",
            f"dataset.max_eval_samples={EVALUATED}",
            f"trainer.max_steps={STEPS}",
            "export=onnx",
            "export.max_accuracy_loss=1",  # random labels
            "benchmark=none",
            *tracking_overrides(folder),
            *overrides,
        )
    print(f"{measured.wall_s:.0f} s, {measured.cpu_s:.0f} s of processor time")
    figure = f"peak memory of a run on {options.rows:,} texts"
    return print_promises([Promise(figure, measured.peak_mb, PEAK_MB, " MB")])


def write(file: Path, rows: int) -> None:
    """Write texts of random words and random classes, a part at a time.

    Args:
        file: CSV file to write.
        rows: number of texts.
    """
    for start in range(0, rows, ROWS_AT_A_TIME):
        part = table(min(ROWS_AT_A_TIME, rows - start), WORDS_A_ROW, seed=start)
        part.to_csv(file, index=False, header=start == 0, mode="a")


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--rows", type=int, default=5_000_000, help="default: %(default)s")
    return command


if __name__ == "__main__":
    sys.exit(main())
