"""A sweep of eight short jobs, one after another and two at a time: python benchmarks/parallel_sweep.py.

Both are whole processes, imports and the workers' start included, each on a store and a token cache of its own. Then eight
processes write to one SQLite store at once, and every point of their curves is counted.
"""

import os
import tempfile
from pathlib import Path

from _process import conclude, measure, tracked_in
from mlflow.tracking import MlflowClient

PROMISED = 0.65
STEPS = 40
JOBS = [
    "-m",
    "pipeline",
    "-m",
    "experiment=quickstart",
    "dataset.max_train_samples=1280",
    "dataset.max_eval_samples=400",
    "trainer.num_train_epochs=1",
    "trainer.logging_steps=1",
    "qat=none",
    "export=none",
    "benchmark=none",
    "trainer.seed=1,2,3,4,5,6,7,8",
]
PARALLEL = ["hydra/launcher=joblib"]


def main() -> None:
    """Measure both, count what eight writers wrote, and print the ratio."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, how in (("serial", []), ("two workers", [*PARALLEL, "hydra.launcher.n_jobs=2"])):
            os.environ["HF_DATASETS_CACHE"] = f"{folder}/{name}/datasets"
            store = [*tracked_in(f"{folder}/{name}"), f"hydra.sweep.dir={folder}/{name}/sweep"]
            seconds[name] = measure(*JOBS, *store, *how).wall_s
            print(f"{name}: {seconds[name]:.1f} s")
        measure(
            *JOBS,
            *tracked_in(f"{folder}/eight"),
            f"hydra.sweep.dir={folder}/eight/sweep",
            *PARALLEL,
            "hydra.launcher.n_jobs=8",
        )
        count(Path(folder) / "eight/mlflow.db")
    conclude([("two workers over serial", seconds["two workers"] / seconds["serial"], "", PROMISED)])


def count(database: Path) -> None:
    """Print how many points of the training curves arrived, out of how many."""
    client = MlflowClient(f"sqlite:///{database}")
    runs = client.search_runs(["1"], "tags.`mlflow.parentRunId` LIKE '%'")
    arrived = 0
    for run in runs:
        for curve in ("train/loss", "train/learning_rate", "train/grad_norm"):
            arrived += len({point.step for point in client.get_metric_history(run.info.run_id, curve)})
    print(f"eight writers: {arrived} of {len(runs) * STEPS * 3} points of {len(runs)} runs arrived")


if __name__ == "__main__":
    main()
