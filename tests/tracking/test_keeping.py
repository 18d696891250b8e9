from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline import prune
from pipeline.names import BEST_RUN_ID_TAG, KEPT_TAG, PARENT_TAG, SHIPPED_TAG, SWEEP_TAG
from pipeline.tracking.keeping import surplus_of

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
    surplus = surplus_of(runs.client, runs.client.get_run(run_id), keep)
    assert surplus.size_mb == size_mb
    assert runs.left(run_id) == set(STORED), "nothing is removed yet"
    surplus.discard(runs.client)
    assert runs.left(run_id) == left
    kept = runs.client.get_run(run_id).data.tags[KEPT_TAG]
    assert kept == ("none" if status == "FAILED" else keep)
    assert not surplus_of(runs.client, runs.client.get_run(run_id), keep).folders


def test_a_registered_model_stays(runs: Runs) -> None:
    run_id = runs.add()
    runs.client.create_registered_model("ours")
    runs.client.create_model_version("ours", f"{runs.folder}/model.bin", run_id)
    surplus_of(runs.client, runs.client.get_run(run_id), "none").discard(runs.client)
    assert runs.left(run_id) == {"linear", "onnx_int8", "reports"}


def test_prune_leaves_the_best_job_and_those_that_run(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = runs.client.create_run(runs.experiment, tags={SWEEP_TAG: "key"}).info.run_id
    of_sweep = {PARENT_TAG: sweep}
    best, other, running = (
        runs.add(**of_sweep),
        runs.add(**of_sweep),
        runs.add("RUNNING", **of_sweep),
    )
    alone = runs.add()
    runs.client.set_tag(sweep, BEST_RUN_ID_TAG, best)
    assert prune.main(["--experiment", "mine", "--dry-run"]) == 0
    assert "would remove 2 MB" in capsys.readouterr().out
    assert runs.left(other) == set(STORED)
    for removed_mb in (2, 0):
        assert prune.main(["--experiment", "mine"]) == 0
        assert f"removed {removed_mb} MB" in capsys.readouterr().out
    assert runs.left(other) == {"linear", "onnx_int8", "reports"}
    assert [runs.left(each) for each in (best, running, alone)] == [set(STORED)] * 3
    assert prune.main(["--keep", "none", "--sweep", sweep]) == 0
    assert runs.left(other) == {"reports"}
    assert prune.main(["--keep", "none", alone]) == 0
    assert runs.left(alone) == {"reports"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "give run ids, --sweep ID or --experiment NAME, and one of them alone."),
        (["--sweep", "a", "--experiment", "b"], "and one of them alone."),
        (["--experiment", "mime"], "there is no experiment 'mime'; did you mean mine?"),
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
