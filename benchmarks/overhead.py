"""What the pipeline adds to a bare INCTrainer script with the same settings: wall time of whole processes, interleaved.

python benchmarks/overhead.py [--model DIR] [--data-dir DIR] [--repetitions N]

The pipeline also logs, stores, reloads and compares; the bare script trains, evaluates and saves. Both train every token of
the last layer (model.classification_token_only=false) and quantize every op type, so that they do the same work. The tracking
store exists already, as it does in every run but the first.
"""

import argparse
import re
import statistics
import tempfile
from pathlib import Path

from _process import conclude, measure, tracked_in

BARE = Path(__file__).parent / "_bare_inctrainer.py"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="assets/minilm")
    parser.add_argument("--data-dir", default="assets/reviews")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    overrides = [
        "model=minilm",
        f"model.name_or_path={options.model}",
        "dataset=files",
        f"dataset.data_dir={options.data_dir}",
        "model.classification_token_only=false",
        "qat.fp32_op_types=[]",
        "export=none",
        "benchmark=none",
    ]
    walls, cpus = [], []
    with tempfile.TemporaryDirectory() as folder:
        tracked = tracked_in(folder)
        measure(
            "-m",
            "pipeline",
            *overrides,
            *tracked,
            "qat=none",
            "trainer.max_steps=1",
            "dataset.max_train_samples=64",
        )
        for repetition in range(options.repetitions):
            bare = measure(str(BARE), options.model, options.data_dir, f"{folder}/bare")
            ours = measure("-m", "pipeline", *overrides, *tracked)
            phases = re.findall(
                r"'train_runtime': [\d.]+|\d+ steps in [\d.]+ s", bare.output + ours.output
            )
            print("   training alone, bare then pipeline:", ", ".join(phases))
            walls.append(ours.wall_s / bare.wall_s)
            cpus.append(ours.cpu_s / bare.cpu_s)
            print(
                f"{repetition}: bare {bare.wall_s:.1f} s ({bare.cpu_s:.1f} s of CPU), "
                f"pipeline {ours.wall_s:.1f} s ({ours.cpu_s:.1f} s of CPU)",
                flush=True,
            )
    print(
        f"pipeline / bare, wall: {min(walls):.3f} to {max(walls):.3f}; CPU: {min(cpus):.3f} to {max(cpus):.3f}"
    )
    conclude([("pipeline / bare, wall, median", statistics.median(walls), "", 1.05)])


if __name__ == "__main__":
    main()
