"""Measure the default recipe against the article's published sample.

python benchmarks/recipe_against_sample.py [--data-dir DIR] [--model DIR]

Both are whole processes. Without --model, both train a BERT-tiny shape (2 layers, hidden 128) with
random weights. From its start until it is as accurate on validation as the sample at its end, the
default recipe may take a fifth of the sample's time.
"""

import argparse
import sys
import tempfile
import time
from math import inf

from _inputs import CORPUS, tracking_client, tracking_overrides, write_bert_tiny
from _process import measure
from _promises import Promise, print_promises

from pipeline.names import ACCURACY, VALIDATION_ACCURACY, on_validation

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
        started = time.time()
        recipe = measure("-m", "pipeline", "dataset=emotion", *overrides)
        print(f"default recipe: {recipe.wall_s:.1f} s", flush=True)
        sample = measure("-m", "pipeline", "experiment=intel_sample", *overrides)
        print(f"intel_sample: {sample.wall_s:.1f} s", flush=True)
        client = tracking_client(folder)
        runs = client.search_runs(["1"], order_by=["start_time"])
        curve = client.get_metric_history(runs[0].info.run_id, VALIDATION_ACCURACY)
    for measurement in (recipe, sample):
        print(measurement.output[measurement.output.rindex(TABLE_TITLE) - TITLE_START :])
    of_recipe, of_sample = (run.data.metrics[on_validation(ACCURACY)] for run in runs)
    print(f"default recipe / intel_sample, whole processes: {recipe.wall_s / sample.wall_s:.2f}")
    reached = min((p.timestamp / 1000 for p in curve if p.value >= of_sample), default=inf)
    return print_promises(
        [
            Promise(
                "default recipe until the sample's accuracy / intel_sample",
                (reached - started) / sample.wall_s,
                0.2,
            ),
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
