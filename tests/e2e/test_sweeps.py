"""Sweeps of the micro model, as a user types them."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from safetensors.torch import load_file, save_file

from tests.conftest import Output
from tests.e2e.processes import PATIENCE_S, Started
from tests.e2e.stored import parents_and_jobs

Command = Callable[..., Output]
ROOT = Path(__file__).parents[2]
WITHOUT_STORE = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
SHORT = ["trainer.max_steps=2", "trainer.eval_strategy=no"]


@pytest.fixture
def sweeps(micro: list[str], tmp_path: Path) -> list[str]:
    """Overrides of a sweep of short jobs."""
    return ["-m", *micro, *SHORT, f"hydra.sweep.dir={tmp_path}/sweep"]


def test_a_grid_is_one_finished_parent_with_its_jobs_nested_under_it(
    command: Command, sweeps: list[str], store: str, tmp_path: Path
) -> None:
    once = [item for item in sweeps if not item.startswith("tracking.keep")]
    output = command(*once, "qat=none,direct", "trainer.seed=1,2")
    assert output.code == 0, output.err
    (parent,), children = parents_and_jobs(store)
    assert len(children) == 4
    accuracies = [run.data.metrics["validation_accuracy"] for run in children]
    kept = ["shipped" if value < max(accuracies) else None for value in accuracies]
    assert [run.data.tags.get("kept") for run in children] == kept, "the best keep all"
    folders = [Path(run.info.artifact_uri[7:]) for run in children]
    assert [{"fp32", "int8"} <= {each.name for each in folder.iterdir()} for folder in folders] == [
        run.data.params["qat.name"] == "direct" and "kept" not in run.data.tags for run in children
    ]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {child.info.status for child in [parent, *children]} == {"FINISHED"}
    assert children[0].info.run_name == "model·files·none·lr5e-3·seed1".replace(
        "model", children[0].info.run_name.split("·")[0]
    )
    assert "qat=none,direct trainer.seed=1,2" in parent.data.params["sweep.command"]
    assert parent.data.params["space.qat"] == "none,direct"
    metrics = parent.data.metrics
    assert [metrics[f"jobs/{name}"] for name in ("done", "failed", "pruned", "skipped")] == [
        4,
        0,
        0,
        0,
    ]
    best = max(child.data.metrics["validation_accuracy"] for child in children)
    assert metrics["best/validation_accuracy"] == best
    assert parent.data.tags["best_run_id"] in {child.info.run_id for child in children}
    artifacts = Path(parent.info.artifact_uri.removeprefix("file://"))
    assert {file.name for file in artifacts.iterdir()} == {"comparison.html", "comparison.csv"}
    # The printed command finds the store, which is not the default.
    printed = (output.out + output.err).partition("next: ")[2].partition(", or ")[0]
    page = tmp_path / "page.html"
    done = subprocess.run(
        f"{printed} --output {page}",
        shell=True,
        env=WITHOUT_STORE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert page.is_file()
    assert "job 4 of 4 FINISHED" in output.err
    assert "Pareto-optimal" in output.out
    assert "phase" not in output.err, "what a job prints goes to its file"
    assert "phase finetune" in (tmp_path / "sweep/0/job.log").read_text()


def test_a_failing_job_fails_alone_and_the_same_command_line_does_the_rest(
    command: Command, sweeps: list[str], store: str, micro_corpus: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    swept = f"dataset.data_dir={micro_corpus},{other}"
    for split in ("train", "validation", "test"):
        (other / f"{split}.csv").write_text("txt,label\na,b\n")
    once = [item for item in sweeps if not item.startswith("dataset.data_dir")]
    output = command(*once, swept, "trainer.seed=1,2", "qat=none")
    assert output.code == 1
    assert "2 of 4 jobs failed" in output.error
    (parent,), children = parents_and_jobs(store)
    assert parent.info.status == "FAILED"
    assert "2 of 4 jobs failed" in parent.data.tags["failure"]
    assert sorted(child.info.status for child in children) == [
        "FAILED",
        "FAILED",
        "FINISHED",
        "FINISHED",
    ]
    failed = next(child for child in children if child.info.status == "FAILED")
    assert "other/train.csv; its columns are: txt, label" in failed.data.tags["failure"]

    for split in ("train", "validation", "test"):
        (other / f"{split}.csv").write_text((micro_corpus / f"{split}.csv").read_text())
    output = command(*once, swept, "trainer.seed=1,2", "qat=none")
    assert output.code == 0, output.err
    assert "2 of 4 jobs have ended before and are skipped" in output.err
    (again,), children = parents_and_jobs(store)
    assert again.info.run_id == parent.info.run_id
    assert again.info.status == "FINISHED"
    assert "failure" not in again.data.tags
    assert [again.data.metrics[f"jobs/{name}"] for name in ("done", "failed", "skipped")] == [
        4,
        0,
        2,
    ]


def test_failures_may_be_allowed_and_fresh_starts_anew(
    command: Command, sweeps: list[str], store: str
) -> None:
    blows_up = [
        *sweeps,
        "trainer.learning_rate=5e-3,1e30",
        "trainer.optim=sgd",
        "trainer.max_grad_norm=0",
        "qat=none",
    ]
    assert command(*blows_up, "sweep.allow_failures=true").code == 0
    assert command(*blows_up, "sweep.allow_failures=true", "sweep.fresh=true").code == 0
    parents, children = parents_and_jobs(store)
    assert [parent.info.status for parent in parents] == ["FINISHED", "FINISHED"]
    assert len(children) == 4


def test_jobs_whose_corpus_or_model_has_changed_are_not_skipped(
    command: Command,
    sweeps: list[str],
    store: str,
    micro_corpus: Path,
    micro_model: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(micro_corpus, corpus := tmp_path / "copy")
    shutil.copytree(micro_model, model := tmp_path / "model")
    kept = ("dataset.data_dir", "model.name_or_path")
    typed = [
        *(item for item in sweeps if not item.startswith(kept)),
        f"dataset.data_dir={corpus}",
        f"model.name_or_path={model}",
        "qat=none",
        "trainer.seed=1,2",
    ]
    assert command(*typed).code == 0
    with (corpus / "test.csv").open("a") as file:
        file.write("snow and ice,cold\n")
    output = command(*typed)
    assert output.code == 0, output.err
    assert "2 finished jobs run again, because of changes: the test split" in output.err
    assert len(parents_and_jobs(store)[1]) == 4

    weights = load_file(model / "model.safetensors")
    save_file({name: value * 1.001 for name, value in weights.items()}, model / "model.safetensors")
    output = command(*typed)
    assert output.code == 0, output.err
    assert "2 finished jobs run again, because of changes: the pretrained model" in output.err
    assert len(parents_and_jobs(store)[1]) == 6
    assert "2 of 2 jobs have ended before and are skipped" in command(*typed).err


def wait_for(process: Started, told: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    for line in process.stderr:
        if told in line:
            return
        assert time.monotonic() < deadline
    pytest.fail(f"the sweep ended without {told!r}")


def test_the_same_sweep_is_not_run_twice_at_once(
    sweeps: list[str], command: Command, store: str
) -> None:
    typed = [item for item in sweeps if item not in SHORT]
    typed += ["trainer.num_train_epochs=1000", "trainer.seed=1,2", "qat=none"]
    process = Started(*typed)
    try:
        wait_for(process, "2 jobs")
        output = command(*typed)
        assert output.code == 2
        assert "this sweep is running already" in output.error
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert [parent.info.status for parent in parents_and_jobs(store)[0]] == ["KILLED"]


def test_jobs_in_processes_of_their_own_share_one_store_and_lose_no_metric(
    command: Command, sweeps: list[str], store: str, tmp_path: Path
) -> None:
    typed = [item for item in sweeps if item not in SHORT]
    typed += [
        "trainer.num_train_epochs=4",
        "trainer.logging_steps=1",
        "trainer.seed=1,2,3,4",
        "qat=none",
    ]
    output = command(*typed, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert output.code == 0, output.err
    _, children = parents_and_jobs(store)
    assert len(children) == 4
    client = MlflowClient(store)
    for child in children:
        steps = [point.step for point in client.get_metric_history(child.info.run_id, "train/loss")]
        assert steps == list(range(1, 33))
    assert sorted(file.parent.name for file in (tmp_path / "sweep").rglob("job.log")) == [
        "0",
        "1",
        "2",
        "3",
    ]


def test_a_search_heeds_two_objectives_and_goes_on_from_its_stored_trials(
    command: Command, sweeps: list[str], store: str
) -> None:
    typed = [
        *sweeps,
        "hydra/sweeper=optuna",
        "qat=none",
        "objective=[accuracy,fp32/loss]",
        "model.classification_token_only=true,false",
    ]
    typed += ["trainer.learning_rate=tag(log,interval(1e-3,1e-2))"]
    assert command(*typed, "hydra.sweeper.n_trials=2").code == 0
    first = [child.data.params["trainer.learning_rate"] for child in parents_and_jobs(store)[1]]
    output = command(*typed, "hydra.sweeper.n_trials=4")
    assert output.code == 0, output.err
    (parent,), children = parents_and_jobs(store)
    assert len({child.data.params["trainer.learning_rate"] for child in children}) == 4
    assert [child.data.params["trainer.learning_rate"] for child in children][:2] == first
    assert "best/fp32/loss" in parent.data.metrics
    assert "Pareto-optimal in accuracy and fp32/loss" in output.out

    # An uninterrupted search finds the same: the seed follows the trials.
    assert command(*typed, "hydra.sweeper.n_trials=4", "sweep.fresh=true").code == 0
    rates = [child.data.params["trainer.learning_rate"] for child in parents_and_jobs(store)[1]]
    assert rates[4:] == rates[:4]


def test_a_hopeless_job_is_stopped_and_marked_as_pruned(
    command: Command, sweeps: list[str], store: str
) -> None:
    typed = [item for item in sweeps if item not in SHORT]
    typed += ["trainer.num_train_epochs=4", "trainer.learning_rate=1e-2,8e-3,1e-7", "qat=none"]
    output = command(
        *typed,
        "sweep.pruner=median",
        "sweep.pruner_startup_trials=2",
        "sweep.pruner_warmup_steps=20",
    )
    assert output.code == 0, output.err
    (parent,), children = parents_and_jobs(store)
    assert [child.info.status for child in children] == ["FINISHED", "FINISHED", "KILLED"]
    assert "below the median of 2 finished runs at that step" in children[2].data.tags["pruned"]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["jobs/pruned"] == 1
    assert "PRUNED" in output.out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["trainer.sed=1,2"], "trainer.sed is unknown; did you mean seed"),
        (["trainer.learning_rate=1e-3,-1"], "trainer.learning_rate=-1.0 must be above 0."),
        (["trainer.learning_rate=interval(1e-4,1e-3)"], "add hydra/sweeper=optuna"),
        (["trainer.seed=range(5,1)"], "the search space is empty: trainer.seed=range(5,1)."),
        (["hydra/sweeper=optuna"], "the search space is empty"),
        (
            ["hydra/sweeper=optuna", "trainer.learning_rate=interval(1e-3,1e-4)"],
            "low=0.001, high=0.0001",
        ),
        (
            ["trainer.seed=1,2", "objective=[acuracy]"],
            "objective=acuracy is logged by no run of this sweep; did you mean",
        ),
        (["trainer.seed=1,2", "tracking.tracking_uri=http://127.0.0.1:9"], "it does not answer"),
        (["sweep=paretto"], "sweep=paretto is unknown; did you mean pareto?"),
    ],
)
def test_what_cannot_be_swept_is_told_before_the_first_job(
    command: Command, sweeps: list[str], store: str, typed: list[str], said: str
) -> None:
    output = command(*sweeps, *typed)
    assert output.code == 2
    assert said in output.error
    assert parents_and_jobs(store) == ([], [])


def test_a_search_space_without_m_is_told_to_use_it(command: Command, micro: list[str]) -> None:
    assert "sweep=pareto is a search space; add -m" in command(*micro, "sweep=pareto").error


def test_a_run_is_repeated_from_what_it_logged(
    command: Command, micro: list[str], store: str
) -> None:
    assert command(*micro, *SHORT, "qat=none", "trainer.seed=7").code == 0
    client = MlflowClient(store)
    (first,) = client.search_runs(["1"])
    tracking = [item for item in micro if item.startswith("tracking.")]
    output = command(f"rerun={first.info.run_id}", *tracking)
    assert output.code == 0, output.err
    second = client.search_runs(["1"])[0]
    assert second.info.run_id != first.info.run_id
    assert second.data.params == first.data.params
    assert "fp32/accuracy" in output.out

    client.log_metric(first.info.run_id, "fp32/accuracy", 0.99)
    client.set_tag(first.info.run_id, "libraries", "torch 1.0")
    output = command(f"rerun={first.info.run_id}", *tracking)
    assert output.code == 1
    differing = f"figures differ from run {first.info.run_id}: fp32/accuracy. "
    assert f"{differing}Since then the libraries changed." in output.error
    assert (
        "trainer.seed=3 cannot be combined with rerun"
        in command(f"rerun={first.info.run_id}", "trainer.seed=3", *tracking).error
    )


def test_jobs_that_submitit_runs_find_store_assets_and_parent(
    command: Command, sweeps: list[str], store: str, micro_model: Path
) -> None:
    relative = os.path.relpath(micro_model, Path.cwd())
    typed = [item for item in sweeps if not item.startswith("model.")]
    output = command(
        *typed,
        f"model.name_or_path={relative}",
        "hydra/launcher=submitit_local",
        "trainer.seed=1,2",
        "qat=none",
    )
    assert output.code == 0, output.err
    (parent,), children = parents_and_jobs(store)
    assert [child.info.status for child in children] == ["FINISHED", "FINISHED"]
    assert parent.data.metrics["jobs/done"] == 2
