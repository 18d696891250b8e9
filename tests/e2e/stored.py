"""Read what runs left in a store."""

from mlflow.entities import Run
from mlflow.tracking import MlflowClient


def runs(store: str) -> list[Run]:
    """Return the runs of all experiments, the oldest first."""
    client = MlflowClient(store)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(ids, order_by=["attributes.start_time ASC"])


def parents_and_jobs(store: str) -> tuple[list[Run], list[Run]]:
    """Return the runs of sweeps and those of their jobs, the oldest first."""
    found = runs(store)
    parents = [run for run in found if "sweep.key" in run.data.tags]
    return parents, [run for run in found if "mlflow.parentRunId" in run.data.tags]
