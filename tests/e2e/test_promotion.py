"""The gate between a run and the alias champion."""

import json
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline import promote
from pipeline.config.schema import BenchmarkConfig
from pipeline.names import CHAMPION
from pipeline.tracking.locate_model import model_directory
from tests.e2e.conftest import Deployed

TIMING = BenchmarkConfig(repetitions=1, seconds=0.02)
pytestmark = pytest.mark.usefixtures("own_store", "own_artifacts")


@pytest.mark.usefixtures("any_gate", "nothing_stays")
def test_a_promotion_is_decided_logged_and_not_half_done(
    deployed: Deployed,
    own_store: str,
    own_artifacts: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, run_id = MlflowClient(own_store), deployed.run.info.run_id
    assert promote.main([run_id, "--gate", "strict"]) == 1
    assert (
        "not promoted; the gate failed at max_accuracy_drop: validation accuracy"
        in capsys.readouterr().err
    )
    assert not client.search_registered_models()
    assert client.get_run(run_id).data.tags["promotion"].startswith("refused: max_accuracy_drop")

    assert promote.main([run_id, "--gate", "any"]) == 0
    version = client.get_model_version_by_alias("int8-text-classifier", "champion")
    assert (int(version.version), version.run_id) == (1, run_id)
    assert "promoted" in client.get_run(run_id).data.tags["promotion"]
    artifacts = own_artifacts / run_id / "artifacts"
    card = (artifacts / "model_card.md").read_text()
    assert client.get_registered_model("int8-text-classifier").description == card
    shipped = deployed.run.data.tags["shipped"]
    validation, test = (
        deployed.run.data.metrics[f"{shipped}/{name}"]
        for name in ("validation_accuracy", "accuracy")
    )
    assert f"| this file, `{shipped}` | {validation:.4f} | {test:.4f} | " in card
    assert "| test | 60 | `" in card
    assert "3 classes: cold, hot, wet." in card.replace("\n", " ")
    decision = json.loads((artifacts / "promotion.json").read_text())
    assert [check["line"] for check in decision["gate"]] == [
        "max_accuracy_drop",
        "min_speedup",
        "floor",
        "champion",
    ]

    capsys.readouterr()
    assert promote.main([run_id, "--gate", "any"]) == 1
    assert f"run {run_id} is the champion already." in capsys.readouterr().err
    assert "promoted" in client.get_run(run_id).data.tags["promotion"]
    assert json.loads((artifacts / "promotion.json").read_text()) == decision

    # The alias cannot be moved: neither a version nor an empty model is left behind.
    def fails(*_: object) -> None:
        raise OSError("disk full")

    client.delete_registered_model("int8-text-classifier")
    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", fails)
    capsys.readouterr()
    assert promote.main([run_id, "--gate", "any"]) == 2
    assert "cannot be used: disk full" in capsys.readouterr().err
    assert not client.search_model_versions("name = 'int8-text-classifier'")
    assert not client.search_registered_models()


@pytest.mark.usefixtures("any_gate")
def test_candidate_and_champion_are_measured_side_by_side(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = deployed.run.info.run_id
    assert promote.main([run_id, "--gate", "any"]) == 0
    accuracy = deployed.run.data.metrics["validation_accuracy"]
    # The same file under another run's id: equal, and no cheaper.
    monkeypatch.setattr("pipeline.promotion.registry.Registry.champion", lambda _: "f" * 32)
    monkeypatch.setattr("pipeline.promotion.measurement.BenchmarkConfig", lambda: TIMING)
    capsys.readouterr()
    assert promote.main([run_id, "--gate", "any"]) == 1
    refusal = capsys.readouterr().err
    assert f"champion: validation accuracy {accuracy:.4f} against {accuracy:.4f}" in refusal
    assert "not inferior; 1.00 of its size, " in refusal
    assert "of its latency; one of them must be 90% less" in refusal


@pytest.mark.usefixtures("any_gate")
def test_a_model_that_is_no_better_than_the_linear_one_is_told_and_refused(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Single words decide the classes of the micro corpus, so that nothing beats a linear model."""
    metrics, tag = deployed.run.data.metrics, deployed.run.data.tags["baseline"]
    accuracy, linear = metrics["validation_accuracy"], metrics["linear/validation_accuracy"]
    assert tag.startswith(f"not beaten: validation accuracy {accuracy:.4f} against {linear:.4f}")
    assert f"{tag}: a linear model would do" in deployed.said
    assert {"linear/accuracy", "linear/latency_p50_ms", "linear/size_mb"} <= metrics.keys()
    capsys.readouterr()
    assert promote.main([deployed.run.info.run_id, "--gate", "honest"]) == 1
    assert "failed at floor: validation accuracy" in (refusal := capsys.readouterr().err)
    assert "that of the linear model; it has to be above 0" in refusal


def test_a_run_that_cannot_be_promoted_says_why(
    deployed: Deployed, own_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient(own_store)
    failed = client.create_run("1")
    client.set_terminated(failed.info.run_id, "FAILED")
    bare = client.create_run("1")
    client.set_terminated(bare.info.run_id, "FINISHED")
    for arguments, line in (
        ([failed.info.run_id], "is FAILED; only a FINISHED run can be promoted."),
        ([bare.info.run_id], "shipped no model; run it with export=all or export=onnx."),
        (["f" * 32], "is not in sqlite"),
        (["--sweep", "latest"], "there is no sweep yet"),
    ):
        assert promote.main(arguments) == 2
        assert line in capsys.readouterr().err


@pytest.mark.usefixtures("any_gate")
def test_the_best_run_of_the_latest_sweep_is_promoted(deployed: Deployed, own_store: str) -> None:
    client, run_id = MlflowClient(own_store), deployed.run.info.run_id
    parent = client.create_run("1", tags={"sweep.key": "0123"}, run_name="tuesday")
    nested = {"mlflow.parentRunId": parent.info.run_id}
    other = client.create_run("1", tags=nested)
    client.log_metric(other.info.run_id, "accuracy", 1.0)  # not timed, so not shipped
    client.set_terminated(other.info.run_id, "FINISHED")
    client.set_tag(run_id, "mlflow.parentRunId", parent.info.run_id)
    assert promote.main(["--sweep", "latest", "--gate", "any"]) == 0
    assert client.get_model_version_by_alias("int8-text-classifier", "champion").run_id == run_id
    assert model_directory(CHAMPION).name == deployed.run.data.tags["shipped"]


def test_a_store_that_fails_is_not_taken_for_one_without_a_champion(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MlflowException("database is locked")

    monkeypatch.setattr(MlflowClient, "search_registered_models", fails)
    assert promote.main([deployed.run.info.run_id]) == 2
    assert capsys.readouterr().err.endswith("cannot be used: database is locked\n")
