"""Measure the default recipe against the article's published sample.

python benchmarks/recipe_against_sample.py [--data-dir DIR] [--model DIR]

Both are whole processes. Without --model, both train a BERT-tiny shape (2 layers, hidden 128) with
random weights. The default recipe has to take at most a fifth of the time, and to be at least as
accurate on validation.
"""

import argparse
import sys
import tempfile

from _inputs import CORPUS, tracking_client, tracking_overrides, write_bert_tiny
from _process import measure
from _promises import Promise, print_promises

from pipeline.names import ACCURACY, on_validation

TABLE_TITLE = "test texts"  # a part of the title above the figures
TITLE_START = 40  # characters before it that are printed too


def main() -> int:
    """Measure both, and print the ratio beside its promise.

    Returns:
        The exit code: 1 if the promise is broken.
    """
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            f"model.name_or_path={options.model or write_bert_tiny(f'{folder}/bert-tiny')}",
            f"dataset.data_dir={options.data_dir}",
            "dataset.label_names=null",
            "export=none",  # the sample exports nothing, and times nothing
            "benchmark=none",
            *tracking_overrides(folder),
        ]
        recipe = measure("-m", "pipeline", "dataset=emotion", *overrides)
        print(f"default recipe: {recipe.wall_s:.1f} s", flush=True)
        sample = measure("-m", "pipeline", "experiment=intel_sample", *overrides)
        print(f"intel_sample: {sample.wall_s:.1f} s", flush=True)
        runs = tracking_client(folder).search_runs(["1"], order_by=["start_time"])
    for measurement in (recipe, sample):
        print(measurement.output[measurement.output.rindex(TABLE_TITLE) - TITLE_START :])
    of_recipe, of_sample = (run.data.metrics[on_validation(ACCURACY)] for run in runs)
    ratio = recipe.wall_s / sample.wall_s
    return print_promises(
        [
            Promise("default recipe / intel_sample, time", ratio, 0.2),
            Promise("validation accuracy of both", of_recipe, of_sample, bound="at least"),
        ]
    )


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--data-dir",
        metavar="DIR",
        default=CORPUS,
        help="folder with train, validation and test (default: %(default)s)",
    )
    command.add_argument(
        "--model",
        metavar="DIR",
        help="directory of a pretrained encoder (default: a BERT-tiny shape)",
    )
    return command


if __name__ == "__main__":
    sys.exit(main())
