"""Measure when quantization-aware training is worth its time.

python benchmarks/study.py [--data-dir DIR] [--seeds 1,2,3] [KEY=VALUE ...]

FP32, post-training quantization, QAT and distillation train the 2-layer MiniLM with each seed, on
the reviews or on the corpus in DIR; the teacher is the same encoder with all its 6 layers. The runs
are a sweep like any other: what is FINISHED is not run again. Prints a table in Markdown: mean and
standard deviation over seeds, and the median of the training times.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

from pipeline.console import third_parties

third_parties.prepare()

from _inputs import ENCODER
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.names import (
    ACCURACY,
    FINISHED,
    FP32,
    INT8,
    LATENCY_P50_MS,
    ONNX_FP32,
    ONNX_INT8,
    POST_TRAINING,
    SIZE_MB,
    SWEEP_TAG,
    figure_of,
    time_of,
)
from pipeline.tracking.lookup import children_of
from pipeline.tracking.store import DEFAULT_TRACKING_URI

DYNAMIC_PTQ = "dynamic PTQ"  # its runs have the FP32 model too
RECIPES: Mapping[str, Sequence[str]] = {
    DYNAMIC_PTQ: ["qat=ptq_dynamic"],
    "static PTQ": ["qat=ptq_static"],
    "direct QAT": ["qat=direct"],
    "finetune, then QAT": ["qat=finetune_then_qat"],
    "finetune, then QAT, distilled": [
        "qat=finetune_then_qat",
        "+distillation=teacher",
        f"distillation.teacher={ENCODER}",
        "distillation.num_hidden_layers=6",
        # At the students' 3e-4, one teacher of three learned nothing.
        "distillation.learning_rate=1e-4",
    ],
}
COMMON_OVERRIDES = [
    "export=onnx",
    f"export.ship={ONNX_INT8}",
    "export.max_accuracy_loss=1.0",
    "benchmark.repetitions=2",
]
FLOAT_TIMES = (time_of("finetune"),)
ALL_TIMES = (*FLOAT_TIMES, time_of("qat"), time_of(POST_TRAINING))
HEADER = """\
| recipe | accuracy, PyTorch | accuracy, ONNX | MB, ONNX | p50 ms, ONNX | training s |
|---|---|---|---|---|---|"""


def main() -> None:
    """Run what is missing, and print the table."""
    options = parser().parse_args()
    inputs = ["experiment=quickstart"]
    name = "study-reviews"
    if options.data_dir:
        inputs = ["model=minilm", "dataset=emotion", f"dataset.data_dir={options.data_dir}"]
        name = "study-emotion"
    shared = [
        *options.overrides,
        f"trainer.seed={options.seeds}",
        f"tracking.experiment_name={name}",
        f"sweep.name={name}",
    ]
    runs: dict[str, list[Run]] = {}
    for recipe, overrides in RECIPES.items():
        arguments = [*inputs, *COMMON_OVERRIDES, *overrides, *shared]
        subprocess.run([sys.executable, "-m", "pipeline", "-m", *arguments], check=True)
        runs[recipe] = newest_jobs(name)
    print(table(runs))


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder with a corpus of the classes that conf/dataset/emotion.yaml names "
        "(default: the reviews)",
    )
    command.add_argument(
        "--seeds",
        metavar="N,N,...",
        default="1,2,3",
        help="seeds of each recipe's runs (default: %(default)s)",
    )
    command.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="overrides of every run, as for python -m pipeline",
    )
    return command


def newest_jobs(experiment_name: str) -> list[Run]:
    """Read the finished jobs of the sweep that ended last.

    Args:
        experiment_name: name of the MLflow experiment.
    """
    client = MlflowClient(DEFAULT_TRACKING_URI)
    experiment = client.get_experiment_by_name(experiment_name)
    (sweep,) = client.search_runs(
        [experiment.experiment_id],
        f"tags.`{SWEEP_TAG}` LIKE '%'",
        order_by=["attributes.end_time DESC"],
        max_results=1,
    )
    return children_of(client, sweep, f"attributes.status = '{FINISHED}'")


def table(runs: Mapping[str, Sequence[Run]]) -> str:
    """Lay the figures out: accuracy in PyTorch, and accuracy, size and latency of the ONNX file.

    Args:
        runs: runs of each recipe, one for each seed.
    """
    fp32 = f"| FP32 | {cells(FP32, ONNX_FP32, runs[DYNAMIC_PTQ], FLOAT_TIMES)} |"
    int8 = [
        f"| {recipe} | {cells(INT8, ONNX_INT8, recipe_runs, ALL_TIMES)} |"
        for recipe, recipe_runs in runs.items()
    ]
    return "\n".join([HEADER, fp32, *int8])


def cells(torch_variant: str, onnx_variant: str, runs: Sequence[Run], times: Sequence[str]) -> str:
    """Write the figures of one line of the table.

    Args:
        torch_variant: variant in PyTorch.
        onnx_variant: the same in ONNX Runtime.
        runs: runs of the recipe, one for each seed.
        times: names of the times that make up the training time.
    """
    size_mb = runs[0].data.metrics[figure_of(onnx_variant, SIZE_MB)]
    seconds = [sum(run.data.metrics.get(name, 0.0) for name in times) for run in runs]
    return " | ".join(
        [
            mean_and_deviation(runs, figure_of(torch_variant, ACCURACY), 4),
            mean_and_deviation(runs, figure_of(onnx_variant, ACCURACY), 4),
            f"{size_mb:.1f}",
            mean_and_deviation(runs, figure_of(onnx_variant, LATENCY_P50_MS), 2),
            f"{statistics.median(seconds):.0f}",
        ]
    )


def mean_and_deviation(runs: Sequence[Run], figure: str, digits: int) -> str:
    """Write the mean and the standard deviation of a figure over runs.

    Args:
        runs: runs that have the figure.
        figure: name of the figure in MLflow.
        digits: digits after the point.
    """
    values = [run.data.metrics[figure] for run in runs]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    main()
