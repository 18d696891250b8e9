"""Measure a sweep of eight short jobs, one after another and two at a time.

python benchmarks/parallel_sweep.py

Both are whole processes, imports and the workers' start included, each on a store and a token cache
of its own. Then eight processes write to one SQLite store at once, and the points of their curves
that arrive are counted. It needs the quickstart's inputs: `make assets` fetches them.
"""

import os
import sys
import tempfile

from _inputs import tracking_client, tracking_overrides, write_bert_tiny
from _process import measure
from _promises import Promise, print_promises

from pipeline.names import PARENT_TAG, TRAIN_LEARNING_RATE, TRAIN_LOSS

JOBS = 8
STEPS = 40
CURVES = (TRAIN_LOSS, TRAIN_LEARNING_RATE)
MOST_TIME = 0.65  # of two workers, relative to one job after another
# Short jobs with all that a run does by default: training, export, evaluation of each file, timing.
SWEEP = [
    "-m",
    "pipeline",
    "-m",
    "dataset=reviews",
    "qat=none",
    "export=onnx",
    "benchmark.repetitions=1",
    f"trainer.max_steps={STEPS}",
    "trainer.logging_steps=1",
    f"trainer.seed={','.join(str(seed + 1) for seed in range(JOBS))}",
]


def main() -> int:
    """Measure both sweeps, count what eight writers log, and print the ratio beside its promise.

    Returns:
        The exit code: 1 if the promise is broken.
    """
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        sweep = [*SWEEP, f"model.name_or_path={write_bert_tiny(f'{folder}/bert-tiny')}"]
        for name, launcher in (("serial", []), ("two workers", joblib(2))):
            os.environ["HF_DATASETS_CACHE"] = f"{folder}/{name}/datasets"
            measurement = measure(*sweep, *storage_overrides(f"{folder}/{name}"), *launcher)
            seconds[name] = measurement.wall_s
            print(f"{name}: {seconds[name]:.1f} s", flush=True)
        store = f"{folder}/eight"
        measure(*sweep, *storage_overrides(store), *joblib(JOBS))
        print_points(store)
    ratio = seconds["two workers"] / seconds["serial"]
    return print_promises([Promise("two workers over serial", ratio, MOST_TIME)])


def joblib(workers: int) -> list[str]:
    """List the overrides that run several jobs at once.

    Args:
        workers: number of jobs at a time.
    """
    return ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"]


def storage_overrides(folder: str) -> list[str]:
    """List the overrides that keep a sweep's runs and outputs in a folder.

    Args:
        folder: folder for the store and the jobs' outputs.
    """
    return [*tracking_overrides(folder), f"hydra.sweep.dir={folder}/sweep"]


def print_points(folder: str) -> None:
    """Print how many points of the training curves arrived, out of how many.

    Args:
        folder: folder of the sweep's store.
    """
    client = tracking_client(folder)
    runs = client.search_runs(["1"], f"tags.`{PARENT_TAG}` LIKE '%'")
    points = sum(
        len({point.step for point in client.get_metric_history(run.info.run_id, curve)})
        for run in runs
        for curve in CURVES
    )
    expected = JOBS * STEPS * len(CURVES)
    print(f"eight writers: {points} of {expected} points of {len(runs)} runs arrived")


if __name__ == "__main__":
    sys.exit(main())
