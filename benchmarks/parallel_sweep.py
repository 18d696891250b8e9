"""A sweep of eight short jobs, one after another and two at a time: python benchmarks/parallel_sweep.py.

Both are whole processes, imports and the workers' start included, each on a store and a token cache of its own. Then eight
processes write to one SQLite store at once, and every point of their curves is counted.
"""

import os
import tempfile
from pathlib import Path

from _process import bert_tiny_shape, conclude, measure, tracked_in
from mlflow.tracking import MlflowClient

PROMISED = 0.65
STEPS = 40
CURVES = ("train/loss", "train/learning_rate")
# Short jobs with all that a run does by default: training, export, evaluation of each file, timing.
EIGHT = [
    "-m",
    "pipeline",
    "-m",
    "dataset=reviews",
    "qat=none",
    "export=onnx",
    "benchmark.repetitions=1",
]
EIGHT += [f"trainer.max_steps={STEPS}", "trainer.logging_steps=1", "trainer.seed=1,2,3,4,5,6,7,8"]


def main() -> None:
    """Measure both, count what eight writers wrote, and print the ratio."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [*EIGHT, f"model.name_or_path={bert_tiny_shape(f'{folder}/bert-tiny')}"]
        for name, how in (
            ("serial", []),
            ("two workers", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]),
        ):
            os.environ["HF_DATASETS_CACHE"] = f"{folder}/{name}/datasets"
            seconds[name] = measure(*jobs, *stored(f"{folder}/{name}"), *how).wall_s
            print(f"{name}: {seconds[name]:.1f} s", flush=True)
        at_once = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=8"]
        measure(*jobs, *stored(f"{folder}/eight"), *at_once)
        count(Path(folder) / "eight/mlflow.db")
    conclude(
        [("two workers over serial", seconds["two workers"] / seconds["serial"], "", PROMISED)]
    )


def stored(folder: str) -> list[str]:
    """Overrides that keep a sweep's runs and outputs in a folder."""
    return [*tracked_in(folder), f"hydra.sweep.dir={folder}/sweep"]


def count(database: Path) -> None:
    """Print how many points of the training curves arrived, out of how many."""
    client = MlflowClient(f"sqlite:///{database}")
    runs = client.search_runs(["1"], "tags.`mlflow.parentRunId` LIKE '%'")
    arrived = sum(
        len({point.step for point in client.get_metric_history(run.info.run_id, curve)})
        for run in runs
        for curve in CURVES
    )
    print(
        f"eight writers: {arrived} of {8 * STEPS * len(CURVES)} points of {len(runs)} runs arrived"
    )


if __name__ == "__main__":
    main()
