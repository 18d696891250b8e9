import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline import prune
from pipeline.names import (
    BEST_RUN_ID_TAG,
    CONFIG_HASH_TAG,
    KEPT_TAG,
    PARENT_TAG,
    SHIPPED_TAG,
    SWEEP_TAG,
)
from pipeline.tracking.keeping import EndedRun, Surplus, surplus_of
from pipeline.tracking.liveness import process_tags

STORED = ("linear", "fp32", "int8", "onnx_int8", "reports")


class Runs:
    """Runs with models of 1 MB each, in an experiment of their own."""

    def __init__(self, store: str, folder: Path) -> None:
        self.client = MlflowClient(store)
        location = (folder / "artifacts").as_uri()
        self.experiment = self.client.create_experiment("mine", artifact_location=location)
        self.folder = folder

    def add(self, status: str = "FINISHED", **tags: str) -> str:
        """Add a run with every artifact."""
        run = self.client.create_run(self.experiment, tags={SHIPPED_TAG: "onnx_int8", **tags})
        run_id = str(run.info.run_id)
        file = self.folder / "model.bin"
        file.write_bytes(bytes(1_000_000))
        for name in STORED:
            self.client.log_artifact(run_id, str(file), name)
        if status != "RUNNING":
            self.client.set_terminated(run_id, status)
        return run_id

    def left(self, run_id: str) -> set[str]:
        """Names of the artifacts that a run still has."""
        return {file.path for file in self.client.list_artifacts(run_id)}


@pytest.fixture
def runs(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return Runs(store, tmp_path)


def surplus(runs: Runs, run_id: str, keep: str = "shipped") -> Surplus | None:
    return surplus_of(runs.client, EndedRun.of(runs.client.get_run(run_id)), keep)


@pytest.mark.parametrize(
    ("status", "keep", "left", "size_mb"),
    [
        ("FINISHED", "shipped", {"linear", "onnx_int8", "reports"}, 2),
        ("FINISHED", "none", {"reports"}, 4),
        ("FAILED", "shipped", {"reports"}, 4),
    ],
)
def test_reports_stay_and_of_a_finished_run_what_it_ships(
    runs: Runs, status: str, keep: str, left: set[str], size_mb: float
) -> None:
    run_id = runs.add(status)
    found = surplus(runs, run_id, keep)
    assert found is not None
    assert found.size_mb == size_mb
    assert runs.left(run_id) == set(STORED), "nothing is removed yet"
    found.discard(runs.client)
    assert runs.left(run_id) == left
    kept = runs.client.get_run(run_id).data.tags[KEPT_TAG]
    assert kept == ("none" if status == "FAILED" else keep)
    assert surplus(runs, run_id, "shipped") is None, "nothing comes back"


def test_a_run_without_exports_keeps_what_it_trained(runs: Runs) -> None:
    run_id = runs.add()
    runs.client.delete_tag(run_id, SHIPPED_TAG)
    found = surplus(runs, run_id)
    assert found is not None
    assert set(found.folders) == {"fp32", "onnx_int8"}


@pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
def test_a_run_with_a_registered_model_keeps_all(runs: Runs, status: str) -> None:
    run_id = runs.add(status)
    runs.client.create_registered_model("ours")
    runs.client.create_model_version("ours", f"{runs.folder}/model.bin", run_id)
    assert surplus(runs, run_id, "none") is None


class SweepOfThree(Runs):
    """The run of a sweep that has ended, with three jobs: two of them are as good."""

    def __init__(self, store: str, folder: Path) -> None:
        super().__init__(store, folder)
        self.sweep = self.client.create_run(self.experiment, tags={SWEEP_TAG: "key"}).info.run_id
        self.client.set_terminated(self.sweep)
        self.best, self.as_good, self.worse = (self.job(value) for value in (0.9, 0.9, 0.8))

    def job(
        self, accuracy: float, status: str = "FINISHED", dataset: str = "", config: str = ""
    ) -> str:
        tags = {CONFIG_HASH_TAG: config} if config else {}
        run_id = self.add("RUNNING", **{PARENT_TAG: self.sweep}, **tags)
        self.client.log_param(run_id, "dataset.name", dataset)
        self.client.log_metric(run_id, "validation_accuracy", accuracy)
        if status != "RUNNING":
            self.client.set_terminated(run_id, status)
        return run_id


@pytest.fixture
def three(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepOfThree:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return SweepOfThree(store, tmp_path)


def test_prune_leaves_the_best_jobs_and_those_that_run(
    three: SweepOfThree, capsys: pytest.CaptureFixture[str]
) -> None:
    running, alone = three.job(0.1, "RUNNING"), three.add()
    assert prune.main(["--experiment", "mine", "--dry-run"]) == 0
    assert "would remove 2 MB" in capsys.readouterr().out
    assert three.left(three.worse) == set(STORED)
    for removed_mb in (2, 0):
        assert prune.main(["--experiment", "mine"]) == 0
        assert f"removed {removed_mb} MB" in capsys.readouterr().out
    assert three.left(three.worse) == {"linear", "onnx_int8", "reports"}
    assert prune.main(["--keep", "none", "--sweep", three.sweep]) == 0
    assert three.left(three.worse) == {"reports"}
    whole = (three.best, three.as_good, running, alone)
    assert [three.left(each) for each in whole] == [set(STORED)] * 4
    assert prune.main(["--keep", "none", alone]) == 0
    assert three.left(alone) == {"reports"}


def test_the_best_is_found_by_its_figure_whatever_the_sweep_says(
    three: SweepOfThree, capsys: pytest.CaptureFixture[str]
) -> None:
    three.client.set_tag(three.sweep, BEST_RUN_ID_TAG, three.worse)  # as after Ctrl-C
    assert prune.main(["--keep", "none", "--sweep", three.sweep]) == 0
    assert three.left(three.best) == set(STORED)
    for best in (three.best, three.as_good, three.worse):
        assert prune.main(["--keep", "none", best]) == 2
        assert "is the best of its sweep" in capsys.readouterr().err


def test_the_best_of_each_corpus_and_of_last_attempts_stays(three: SweepOfThree) -> None:
    other = three.job(0.3, dataset="other")
    outdated = three.job(0.95, config="a")
    time.sleep(0.01)  # runs are told apart by the millisecond in which they start
    again = three.job(0.2, config="a")
    assert prune.main(["--keep", "none", "--sweep", three.sweep]) == 0
    assert [three.left(each) for each in (three.best, other)] == [set(STORED)] * 2
    assert [three.left(each) for each in (outdated, again)] == [{"reports"}] * 2


def test_a_sweep_that_runs_is_not_pruned(
    three: SweepOfThree, capsys: pytest.CaptureFixture[str]
) -> None:
    three.client.update_run(three.sweep, status="RUNNING")
    for name, value in process_tags().items():
        three.client.set_tag(three.sweep, name, value)
    assert prune.main(["--sweep", three.sweep]) == 2
    assert "is still running, and keeps what tracking.keep says" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "give run ids, --sweep ID or --experiment NAME, and one of them alone."),
        (["--sweep", "a", "--experiment", "b"], "and one of them alone."),
        (["--experiment", "mime"], "--experiment mime is unknown; did you mean mine?"),
    ],
)
def test_what_is_to_be_pruned_has_to_be_said(
    runs: Runs, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune.main(arguments) == 2
    assert line in capsys.readouterr().err


def test_a_run_that_goes_on_is_not_pruned(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune.main([runs.add("RUNNING")]) == 2
    assert "is still running; prune it when it has ended." in capsys.readouterr().err
