"""A sweep on a Ray cluster of two nodes, one of which is lost."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Run

from tests.e2e.processes import PATIENCE_S, ROOT
from tests.e2e.stored import parents_and_jobs

pytest.importorskip("ray")
from ray.cluster_utils import Cluster


def running_under(raylet: int, store: str) -> list[Run]:
    """List the runs whose process a raylet has started."""
    found = []
    for run in parents_and_jobs(store)[1]:
        pid = int(run.data.tags["process"].split()[-2])
        if run.info.status == "RUNNING" and psutil.Process(pid).ppid() == raylet:
            found.append(run)
    return found


# Without retries it is the sweep that launches again what has not ended, after the launcher.
@pytest.mark.parametrize("retries", [1, 0])
def test_the_jobs_of_a_node_that_is_lost_run_again_elsewhere_and_none_runs_twice(
    micro: list[str], store: str, tmp_path: Path, retries: int
) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        lost = cluster.add_node(num_cpus=1)
        raylet = lost.all_processes["raylet"][0].process.pid
        typed = [*micro, "qat=none", "trainer.seed=1,2,3,4", f"hydra.sweep.dir={tmp_path}/sweep"]
        typed += ["hydra/launcher=ray", f"hydra.launcher.ray.init.address={cluster.address}"]
        typed += [f"hydra.launcher.ray.remote.max_retries={retries}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "-m", *typed],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not (in_flight := running_under(raylet, store)) and process.poll() is None:
            time.sleep(0.1)
        cluster.remove_node(lost, allow_graceful=False)
        _, error = process.communicate(timeout=PATIENCE_S)
    finally:
        cluster.shutdown()
    assert process.returncode == 0, error
    (parent,), jobs = parents_and_jobs(store)
    assert parent.info.status == "FINISHED"
    finished = Counter(
        run.data.params["trainer.seed"] for run in jobs if run.info.status == "FINISHED"
    )
    assert finished == {"1": 1, "2": 1, "3": 1, "4": 1}
    others = {run.info.run_id: run.info.status for run in jobs if run.info.status != "FINISHED"}
    assert others.pop(in_flight[0].info.run_id) == "FAILED"
    if retries:
        assert not others, "only what was lost ran again"
    assert set(others.values()) <= {"FAILED"}
