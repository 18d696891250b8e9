"""Runs and sweeps that are killed or interrupted at their most delicate places.

Nothing is lost but the job in flight, every status is true, and the same command line does the
rest.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.conftest import Output
from tests.e2e import faulty
from tests.e2e.processes import PATIENCE_S, ROOT, Started
from tests.e2e.stored import parents_and_jobs

Command = Callable[..., Output]
SILENT = "its process ended without a message: kill -9, out of memory or a reboot"


def folders(run: Run, *, including_parts: bool = False) -> set[str]:
    """What stands for whole artifacts of a run."""
    names = {
        folder.name for folder in Path(run.info.artifact_uri.removeprefix("file://")).iterdir()
    }
    return {name for name in names if including_parts or not name.endswith(".part")}


@pytest.fixture
def sweep(micro: list[str], tmp_path: Path) -> list[str]:
    """Two jobs of 16 steps that keep their checkpoints, and export."""
    kept = [item for item in micro if not item.startswith("export=")]
    return [
        "-m",
        *kept,
        "export.formats=[onnx_fp32]",
        "qat=none",
        "trainer.seed=1,2",
        "trainer.save_strategy=epoch",
        f"trainer.output_dir={tmp_path / 'kept'}",
        f"hydra.sweep.dir={tmp_path}/sweep",
    ]


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Give pytest its handlers back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


# Each call is in the second job: of 32 steps, 4 checkpoints, 2 exports and 10 folders.
@pytest.mark.parametrize(
    ("place", "call", "stored", "goes_on"),
    [
        ("training", 28, {"config"}, "going on from checkpoint-8"),
        ("checkpoint", 4, {"config"}, "going on from checkpoint-8"),
        ("export", 2, {"config", "fp32"}, "its 16 steps were done in an earlier start"),
        ("logging", 7, {"config"}, "its 16 steps were done in an earlier start"),
        ("model", 2, {"config", "fp32", "onnx_fp32"}, "its 16 steps were done in an earlier start"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.usefixtures("own_signals")
def test_a_sweep_goes_on_in_the_job_that_was_in_flight(
    command: Command,
    sweep: list[str],
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    call: int,
    stored: set[str],
    goes_on: str,
    number: signal.Signals,
) -> None:
    if number == signal.SIGKILL:
        process = Started(*sweep, faults=f"{place}:{call}:SIGKILL")
        _, error = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == -signal.SIGKILL, error
    else:
        with monkeypatch.context() as patched:
            faulty.arm(place, call, number, patched.setattr)
            output = command(*sweep)
        assert (output.code, output.error) == (130, "error: interrupted")
    (parent,), children = parents_and_jobs(store)
    in_flight = "RUNNING" if number == signal.SIGKILL else "KILLED"
    assert [run.info.status for run in (*children, parent)] == ["FINISHED", in_flight, in_flight]
    assert folders(children[1]) == stored, "nothing half-written has a name"

    output = command(*sweep)
    assert output.code == 0, output.err
    assert "1 of 2 jobs have ended before and are skipped" in output.err
    assert goes_on in (tmp_path / "sweep/0/job.log").read_text()
    (again,), children = parents_and_jobs(store)
    assert (again.info.run_id, again.info.status) == (parent.info.run_id, "FINISHED")
    ended = [(run.info.status, run.data.tags.get("failure")) for run in children]
    lost = ("FAILED", SILENT) if number == signal.SIGKILL else ("KILLED", "interrupted")
    assert ended == [("FINISHED", None), lost, ("FINISHED", None)]
    assert folders(children[1], including_parts=True) == stored, "and it is gone"
    models = MlflowClient(store).search_logged_models(["1"])
    owners = sorted(model.source_run_id for model in models)
    assert owners == sorted(run.info.run_id for run in (children[0], children[2]))
    # A folder for each configuration, and each of them has all of its curve.
    assert len(list((tmp_path / "kept" / parent.info.run_id).iterdir())) == 2
    client = MlflowClient(store)
    for run in (children[0], children[2]):
        history = client.get_metric_history(run.info.run_id, "validation/accuracy")
        assert [point.step for point in history] == [0, 8, 16]


def test_a_job_that_is_killed_alone_is_launched_again_by_its_sweep(
    sweep: list[str], store: str, tmp_path: Path
) -> None:
    # A real interpreter: joblib ends its processes at its exit.
    typed = [*sweep, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *typed],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    running: list[Run] = []
    while not running and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
        running = [run for run in parents_and_jobs(store)[1] if run.info.status == "RUNNING"]
    assert running, "no job began"
    pid = int(running[0].data.tags["process"].split()[-2])
    assert pid != process.pid
    os.kill(pid, signal.SIGKILL)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, error
    (parent,), children = parents_and_jobs(store)
    assert parent.info.status == "FINISHED"
    ended = {run.info.run_id: run.info.status for run in children}
    assert list(ended.values()).count("FINISHED") == 2
    assert ended[running[0].info.run_id] == "FAILED"
    assert "RUNNING" not in ended.values()


def test_a_second_ctrl_c_ends_at_once_and_the_run_is_not_told_as_finished(
    command: Command, micro: list[str], store: str
) -> None:
    typed = [*micro, "qat=none", "trainer.max_steps=4"]
    # A real interpreter: what it does at its exit is part of it.
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.faulty", "training:2:SIGINT,closing:1:SIGINT", *typed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.returncode == 130, done.stderr
    assert "error: interrupted" in done.stderr
    client = MlflowClient(store)
    (run,) = client.search_runs(["1"])
    assert run.info.status == "RUNNING"
    assert command(*typed).code == 0
    told = client.get_run(run.info.run_id)
    assert (told.info.status, told.data.tags["failure"]) == ("FAILED", SILENT)


def test_two_sweeps_at_once_keep_out_of_each_other(
    command: Command, sweep: list[str], store: str, tmp_path: Path
) -> None:
    """Both have the job of seed 2, and the same trainer.output_dir."""
    other = ["trainer.seed=2,3" if item == "trainer.seed=1,2" else item for item in sweep]
    other = [item for item in other if not item.startswith("hydra.sweep.dir")]
    process = Started(*other, f"hydra.sweep.dir={tmp_path}/other")
    output = command(*sweep)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert (output.code, process.returncode) == (0, 0), output.err + error
    parents, children = parents_and_jobs(store)
    assert [run.info.status for run in (*parents, *children)] == ["FINISHED"] * 6
    for parent in parents:
        of_parent = [
            run for run in children if run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        ]
        assert len(of_parent) == len(list((tmp_path / "kept" / parent.info.run_id).iterdir())) == 2
