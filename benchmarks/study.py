"""When is quantization-aware training worth it? FP32, post-training quantization, QAT and distillation, three seeds each.

python benchmarks/study.py [--data-dir DIR] [--seeds 1,2,3] [KEY=VALUE ...]

The 2-layer MiniLM on the reviews, or on the corpus in DIR; the teacher is the same encoder with all its 6 layers. The runs are
a sweep like any other: what is FINISHED is not run again. Prints a table in Markdown: mean and
standard deviation over seeds, and the median of the training times.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

from pipeline.console import quiet

quiet.third_parties()

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

STORE = "sqlite:///mlruns/mlflow.db"
RECIPES: Mapping[str, Sequence[str]] = {
    "dynamic PTQ": ["qat=ptq_dynamic"],
    "static PTQ": ["qat=ptq_static"],
    "direct QAT": ["qat=direct"],
    "finetune, then QAT": ["qat=finetune_then_qat"],
    "finetune, then QAT, distilled": [
        "qat=finetune_then_qat",
        "+distillation=teacher",
        "distillation.teacher=assets/minilm",
        "distillation.num_hidden_layers=6",
        "distillation.learning_rate=1e-4",  # at the students' 3e-4, one teacher of three learned nothing
    ],
}
COMMON = [
    "export=onnx",
    "export.ship=onnx_int8",
    "export.max_accuracy_loss=1.0",
    "benchmark.repetitions=2",
]
TRAINING = ("time/finetune_s", "time/qat_s", "time/post_training_s")


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data-dir", help="a corpus of the classes that conf/dataset/emotion.yaml names"
    )
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    inputs = ["experiment=quickstart"]
    if options.data_dir:
        inputs = ["experiment=emotion", "model=minilm", f"dataset.data_dir={options.data_dir}"]
    name = "study-emotion" if options.data_dir else "study-reviews"
    runs: dict[str, list[Run]] = {}
    for recipe, overrides in RECIPES.items():
        typed = [*inputs, *COMMON, *overrides, *options.overrides]
        typed += [
            f"trainer.seed={options.seeds}",
            f"tracking.experiment_name={name}",
            f"sweep.name={name}",
        ]
        subprocess.run([sys.executable, "-m", "pipeline", "-m", *typed], check=True)
        runs[recipe] = children(name)
    print(table(runs))


def children(experiment: str) -> list[Run]:
    """Read the jobs of the sweep that ended last."""
    client = MlflowClient(STORE)
    found = client.get_experiment_by_name(experiment)
    ids = [found.experiment_id]
    (parent,) = client.search_runs(
        ids, "tags.`sweep.key` LIKE '%'", order_by=["attributes.end_time DESC"], max_results=1
    )
    return client.search_runs(
        ids,
        f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and attributes.status = 'FINISHED'",
    )


def table(runs: Mapping[str, Sequence[Run]]) -> str:
    """Lay the figures out: accuracy of the model in PyTorch and of the file that is shipped, its size and latency."""
    lines = [
        "| recipe | accuracy, PyTorch | accuracy, ONNX | MB, ONNX | p50 ms, ONNX | training s |",
        "|---|---|---|---|---|---|",
        row(
            "FP32",
            "fp32",
            "onnx_fp32",
            [run for found in runs.values() for run in found if "ptq_dynamic" in run.info.run_name],
        ),
    ]
    return "\n".join(
        [*lines, *(row(recipe, "int8", "onnx_int8", found) for recipe, found in runs.items())]
    )


def row(recipe: str, trained: str, shipped: str, runs: Sequence[Run]) -> str:
    """One line of the table."""

    def mean(name: str, digits: int) -> str:
        values = [run.data.metrics[name] for run in runs]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"

    phases = TRAINING[:1] if trained == "fp32" else TRAINING
    seconds = [sum(run.data.metrics.get(name, 0.0) for name in phases) for run in runs]
    cells = [mean(f"{trained}/accuracy", 4), mean(f"{shipped}/accuracy", 4)]
    cells += [
        f"{runs[0].data.metrics[f'{shipped}/size_mb']:.1f}",
        mean(f"{shipped}/latency_p50_ms", 2),
    ]
    return f"| {recipe} | {' | '.join(cells)} | {statistics.median(seconds):.0f} |"


if __name__ == "__main__":
    main()
