"""The default recipe (two FP32 epochs, one QAT epoch) against the article's published sample: wall time of whole processes.

python benchmarks/recipe_against_sample.py [--data-dir DIR] [--model DIR]

Without --model both train a BERT-tiny shape (2 layers, hidden 128) with random weights: speed does not depend on them,
accuracy does, so none is compared here.
"""

import argparse
import tempfile

from _process import bert_tiny_shape, conclude, measure, tracked_in


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data-dir", default="assets/reviews", help="a folder with train, validation and test"
    )
    parser.add_argument("--model", help="a model directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or bert_tiny_shape(f"{folder}/bert-tiny")
        overrides = [
            f"model.name_or_path={model}",
            f"dataset.data_dir={options.data_dir}",
            "dataset.label_names=null",
        ]
        overrides += ["export=none", "benchmark=none"]  # the sample has neither
        overrides += tracked_in(folder)
        recipe = measure("-m", "pipeline", "dataset=emotion", *overrides)
        print(f"default recipe: {recipe.wall_s:.1f} s", flush=True)
        sample = measure("-m", "pipeline", "experiment=intel_sample", *overrides)
        print(f"intel_sample: {sample.wall_s:.1f} s", flush=True)
        for measured in (recipe, sample):
            print(measured.output[measured.output.rindex("test texts") - 40 :])
    conclude([("default recipe / intel_sample", recipe.wall_s / sample.wall_s, "", 0.2)])


if __name__ == "__main__":
    main()
