"""What the pipeline adds to a bare INCTrainer script with the same settings: wall time of whole processes, interleaved.

python benchmarks/overhead.py [--model DIR] [--data-dir DIR] [--repetitions N]

The pipeline also logs, stores, reloads and compares; the bare script trains, evaluates and saves. Both train every token of
the last layer (model.classification_token_only=false), so that they do the same work; the pipeline's default is timed beside
them.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from _process import conclude, measure, tracked_in

BARE = Path(__file__).parent / "_bare_inctrainer.py"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="assets/minilm")
    parser.add_argument("--data-dir", default="assets/reviews")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    overrides = [
        "model=minilm",
        f"model.name_or_path={options.model}",
        "dataset=files",
        f"dataset.data_dir={options.data_dir}",
    ]
    ratios, shortened = [], []
    for repetition in range(options.repetitions):
        with tempfile.TemporaryDirectory() as folder:
            tracked = tracked_in(folder)
            bare = measure(str(BARE), options.model, options.data_dir, f"{folder}/bare").wall_s
            same = measure("-m", "pipeline", *overrides, *tracked, "model.classification_token_only=false").wall_s
            default = measure("-m", "pipeline", *overrides, *tracked).wall_s
        print(f"{repetition}: bare {bare:.1f} s, pipeline {same:.1f} s, pipeline by default {default:.1f} s", flush=True)
        ratios.append(same / bare)
        shortened.append(default / bare)
    print(f"pipeline / bare: {min(ratios):.3f} to {max(ratios):.3f}")
    print(f"pipeline by default / bare: median {statistics.median(shortened):.3f}")
    conclude([("pipeline / bare, median", statistics.median(ratios), "", 1.05)])


if __name__ == "__main__":
    main()
