"""Write the runs of a sweep's jobs straight into a database, and launch jobs that do nothing."""

import random
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from mlflow.entities import Metric, RunTag
from mlflow.store.tracking.dbmodels import models
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from omegaconf import DictConfig
from sqlalchemy import insert
from sqlalchemy.engine import Connection

from pipeline.config.identity import Ingredients, config_hash, flatten
from pipeline.config.objectives import promised_figures
from pipeline.config.schema import Config
from pipeline.names import (
    CONFIG_HASH_TAG,
    CONTEXT_TAG,
    FINISHED,
    MLFLOW_CONTEXTS,
    PARENT_TAG,
    VALIDATION_ACCURACY,
)
from pipeline.sweeps.jobs import Job

RUN_SECONDS = 60
CURVE_POINTS = 5
RUNS_PER_INSERT = 200


@dataclass(frozen=True)
class SweptConfig:
    """A config of which a sweep varies the seed.

    Args:
        config: resolved config of the first job.
        ingredients: what its figures depend on beside it.
    """

    config: Config
    ingredients: Ingredients

    def job(self, seed: int) -> Job:
        """Return the job of a seed.

        Args:
            seed: value of trainer.seed.
        """
        trainer = replace(self.config.trainer, seed=seed)
        return Job((f"trainer.seed={seed}",), replace(self.config, trainer=trainer))

    def figures(self, seed: int) -> dict[str, float]:
        """Make up every figure that a run of a seed promises.

        Args:
            seed: value of trainer.seed.
        """
        rng = random.Random(seed)
        return {name: 0.8 + rng.random() / 10 for name in promised_figures(self.config)}


def write_children(uri: str, parent_id: str, swept: SweptConfig, seeds: range) -> None:
    """Write a FINISHED run for each seed, with all parameters, figures, tags and inputs of one.

    Args:
        uri: address of a database, which has the sweep's run.
        parent_id: id of the sweep's run.
        swept: config of the jobs.
        seeds: seeds of the jobs.
    """
    store = SqlAlchemyStore(uri, "")  # type: ignore[no-untyped-call]
    run = store.get_run(parent_id)  # type: ignore[no-untyped-call]
    experiment_id = int(run.info.experiment_id)
    with store.engine.begin() as connection:
        datasets = _write_datasets(connection, experiment_id, swept.ingredients)
        for start in range(0, len(seeds), RUNS_PER_INSERT):
            rows: dict[type, list[dict[str, Any]]] = {}
            for seed in seeds[start : start + RUNS_PER_INSERT]:
                for table, row in _rows(experiment_id, parent_id, swept, seed):
                    rows.setdefault(table, []).append(row)
                run_id = rows[models.SqlRun][-1]["run_uuid"]
                for table, row in _input_rows(run_id, datasets):
                    rows.setdefault(table, []).append(row)
            for table, many in rows.items():
                connection.execute(insert(table), many)


def _write_datasets(
    connection: Connection, experiment_id: int, ingredients: Ingredients
) -> Mapping[str, str]:
    """Write the splits as datasets, unless they are there; return their ids by context."""
    ids = {}
    for split, digest in ingredients.digests.items():
        ids[MLFLOW_CONTEXTS[split]] = uuid.uuid4().hex
        row = {
            "dataset_uuid": ids[MLFLOW_CONTEXTS[split]],
            "experiment_id": experiment_id,
            "name": f"{split} {ids[MLFLOW_CONTEXTS[split]]}",
            "digest": digest,
            "dataset_source_type": "local",
            "dataset_source": "{}",
        }
        connection.execute(insert(models.SqlDataset), [row])
    return ids


def _rows(
    experiment_id: int, parent_id: str, swept: SweptConfig, seed: int
) -> Iterator[tuple[type, dict[str, Any]]]:
    """Yield the rows of one run, each with its table; the older, the lower the seed."""
    run_id, job = uuid.uuid4().hex, swept.job(seed)
    started = int(time.time() * 1000) - 10 * 86_400_000 + seed * 1000
    yield (
        models.SqlRun,
        {
            "run_uuid": run_id,
            "name": f"job {seed}",
            "experiment_id": experiment_id,
            "status": FINISHED,
            "start_time": started,
            "end_time": started + RUN_SECONDS * 1000,
            "artifact_uri": "",
            "user_id": "benchmark",
            "source_type": "LOCAL",
            "lifecycle_stage": "active",
        },
    )
    for key, value in flatten(job.config).items():
        yield models.SqlParam, {"run_uuid": run_id, "key": key, "value": value}
    for key, value in tags_of(job, swept.ingredients, parent_id).items():
        yield models.SqlTag, {"run_uuid": run_id, "key": key, "value": value}
    point = {"run_uuid": run_id, "timestamp": started, "step": 0, "is_nan": False}
    for key, number in swept.figures(seed).items():
        yield models.SqlLatestMetric, {**point, "key": key, "value": number}
    for step in range(1, CURVE_POINTS + 1):
        curve = {"key": VALIDATION_ACCURACY, "value": 0.5 + step / 20, "step": step}
        yield models.SqlMetric, {**point, **curve}


def _input_rows(run_id: str, datasets: Mapping[str, str]) -> Iterator[tuple[type, dict[str, Any]]]:
    for context, dataset_id in datasets.items():
        input_id = uuid.uuid4().hex
        yield (
            models.SqlInput,
            {
                "input_uuid": input_id,
                "source_type": "DATASET",
                "source_id": dataset_id,
                "destination_type": "RUN",
                "destination_id": run_id,
            },
        )
        tag = {"input_uuid": input_id, "name": CONTEXT_TAG, "value": context}
        yield models.SqlInputTag, tag


def tags_of(job: Job, ingredients: Ingredients, parent_id: str) -> dict[str, str]:
    """Return the tags of a job's run that a sweep reads.

    Args:
        job: the job.
        ingredients: what its figures depend on beside its config.
        parent_id: id of the sweep's run.
    """
    tags = {PARENT_TAG: parent_id, CONFIG_HASH_TAG: config_hash(job.config)}
    return tags | ingredients.tags


class WritingLauncher(Launcher):  # type: ignore[misc]
    """Write a FINISHED run for each job, and measure what that takes.

    Args:
        client: MLflow client of the tracking store.
        swept: config of the jobs.
        pause_s: seconds that a job lasts beside what it writes.
    """

    def __init__(self, client: MlflowClient, swept: SweptConfig, pause_s: float) -> None:
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self._client = client
        self._swept = swept
        self._pause_s = pause_s

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Need nothing of Hydra.

        Args:
            hydra_context: Hydra's context.
            task_function: function that would run a job.
            config: Hydra's config.
        """

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Write the runs, one after another.

        Args:
            job_overrides: overrides of each job, as a sweep sets them.
            initial_job_idx: number of the first job.
        """
        wall, cpu = time.perf_counter(), time.thread_time()
        for line in job_overrides:
            self._write(_values(line))
            time.sleep(self._pause_s)
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.thread_time() - cpu
        return [JobReturn(status=JobStatus.COMPLETED) for _ in job_overrides]

    def _write(self, values: Mapping[str, str]) -> None:
        parent_id = values["sweep.parent_run_id"]
        seed = int(values["trainer.seed"])
        tags = tags_of(self._swept.job(seed), self._swept.ingredients, parent_id)
        experiment_id = self._client.get_run(parent_id).info.experiment_id
        run = self._client.create_run(experiment_id, tags=tags, run_name=f"job {seed}")
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, 0) for key, value in self._swept.figures(seed).items()]
        self._client.log_batch(run.info.run_id, metrics, tags=[RunTag("written", "now")])
        self._client.set_terminated(run.info.run_id)


def _values(line: Iterable[str]) -> dict[str, str]:
    return {key: value for key, _, value in (override.partition("=") for override in line)}


def write_inputs(folder: Path) -> list[str]:
    """Write a corpus of three classes and what looks like a model, and return their overrides.

    Args:
        folder: folder to write to.
    """
    for number, split in enumerate(("train", "validation", "test")):
        rows = "".join(f"word{number} word{row},{row % 3}\n" for row in range(60))
        (folder / f"{split}.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"none of them is loaded")
    return ["dataset=files", f"dataset.data_dir={folder}", f"model.name_or_path={folder}"]
