"""Measure what the pipeline adds to a bare INCTrainer script with the same settings.

python benchmarks/overhead.py [--model DIR] [--data-dir DIR] [--repetitions N]

Both are whole processes, one after the other in each repetition. The pipeline also logs, stores,
reloads and compares; the bare script trains, evaluates and saves. Both train every token of the
last layer (model.classification_token_only=false) and quantize every op type, so that they do the
same work. The tracking store exists already, as it does in every run but the first.
"""

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path

from _inputs import CORPUS, ENCODER, tracking_overrides
from _process import measure
from _promises import Promise, print_promises

BARE_SCRIPT = Path(__file__).parent / "_bare_inctrainer.py"
# How the bare script, and then the pipeline, prints the time of a training phase.
TRAINING_TIME = re.compile(r"'train_runtime': [\d.]+|\d+ steps in [\d.]+ s")


def main() -> int:
    """Measure both in turns, and print the ratio beside its promise.

    Returns:
        The exit code: 1 if the promise is broken.
    """
    options = parser().parse_args()
    walls, cpus = [], []
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "pipeline", *overrides(options), *tracking_overrides(folder)]
        # The store has to be there before anything is timed.
        measure(*command, "qat=none", "trainer.max_steps=1", "dataset.max_train_samples=64")
        for repetition in range(options.repetitions):
            bare = measure(str(BARE_SCRIPT), options.model, options.data_dir, f"{folder}/bare")
            pipeline = measure(*command)
            training_times = TRAINING_TIME.findall(bare.output + pipeline.output)
            print("   training alone, bare then pipeline:", ", ".join(training_times))
            walls.append(pipeline.wall_s / bare.wall_s)
            cpus.append(pipeline.cpu_s / bare.cpu_s)
            print(
                f"{repetition}: bare {bare.wall_s:.1f} s ({bare.cpu_s:.1f} s of CPU), "
                f"pipeline {pipeline.wall_s:.1f} s ({pipeline.cpu_s:.1f} s of CPU)",
                flush=True,
            )
    print(
        f"pipeline / bare, wall: {min(walls):.3f} to {max(walls):.3f}; "
        f"CPU: {min(cpus):.3f} to {max(cpus):.3f}"
    )
    return print_promises(
        [Promise("pipeline / bare, wall, median", statistics.median(walls), 1.05)]
    )


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--model",
        metavar="DIR",
        default=ENCODER,
        help="directory of the pretrained encoder (default: %(default)s)",
    )
    command.add_argument(
        "--data-dir",
        metavar="DIR",
        default=CORPUS,
        help="folder with train.csv, validation.csv and test.csv (default: %(default)s)",
    )
    command.add_argument(
        "--repetitions",
        metavar="N",
        type=int,
        default=3,
        help="number of times that both are run (default: %(default)s)",
    )
    return command


def overrides(options: argparse.Namespace) -> list[str]:
    """List the overrides that give the pipeline the bare script's settings.

    Args:
        options: the command line, for the model and the data.
    """
    return [
        "model=minilm",
        f"model.name_or_path={options.model}",
        "dataset=files",
        f"dataset.data_dir={options.data_dir}",
        "model.classification_token_only=false",
        "qat.fp32_op_types=[]",
        "export=none",
        "benchmark=none",
    ]


if __name__ == "__main__":
    sys.exit(main())
