from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import PipelineError
from pipeline.promotion.registry import Registry

METRICS = {
    "accuracy": 0.9,
    "accuracy_drop": 0.01,
    "speedup": 4.0,
    "onnx_int8/size_mb": 17.2,
    "onnx_int8/latency_p50_ms": 0.5,
}
TAGS = {"shipped": "onnx_int8", "cpu.model": "a CPU"}


@pytest.fixture
def client(store: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return MlflowClient(store)


@pytest.fixture
def experiment(client: MlflowClient, tmp_path: Path) -> str:
    return client.create_experiment("runs", artifact_location=(tmp_path / "artifacts").as_uri())


def logged(
    client: MlflowClient,
    experiment: str,
    metrics: dict[str, float] = METRICS,
    status: str = "FINISHED",
    labels: str = "abc",
    answers: str = "abb",
    **tags: str,
) -> str:
    """Write a run as the pipeline leaves it, with three predictions of which two are right."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    run_id = client.create_run(experiment, tags={**TAGS, **tags}).info.run_id
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)
    dataset = Dataset("test", "abc", "local", "{}")
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "testing")])])
    predictions = pd.DataFrame({"label": list(labels), "onnx_int8": list(answers)})
    client.log_text(run_id, predictions.to_csv(index=False), "reports/predictions.csv")
    client.set_terminated(run_id, status)
    return run_id


def test_a_candidate_has_the_figures_of_the_shipped_artifact(
    client: MlflowClient, experiment: str
) -> None:
    candidate = Registry("classifier").candidate(logged(client, experiment))
    assert (candidate.accuracy_drop, candidate.speedup) == (0.01, 4.0)
    assert (candidate.size_mb, candidate.latency_p50_ms, candidate.cpu) == (17.2, 0.5, "a CPU")
    assert candidate.test_digest == "abc"
    assert candidate.right.tolist() == [True, True, False]


def test_labels_are_names_even_if_they_look_like_numbers(
    client: MlflowClient, experiment: str
) -> None:
    run_id = logged(client, experiment, labels="12x", answers="122")
    assert Registry("classifier").candidate(run_id).right.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("", "is damaged: EmptyDataError"),
        ("label,fp32\na,a\n", "is damaged: KeyError: 'onnx_int8'"),
        ("label,onnx_int8\na,a\nb,b\n", "its 2 texts give an accuracy of 1.000000, and the run"),
    ],
)
def test_a_damaged_table_of_predictions_is_told_by_the_accuracy_that_was_logged(
    client: MlflowClient, experiment: str, table: str, line: str
) -> None:
    run_id = logged(client, experiment, {**METRICS, "onnx_int8/accuracy": 2 / 3})
    client.log_text(run_id, table, "reports/predictions.csv")
    with pytest.raises(PipelineError, match=line):
        Registry("classifier").candidate(run_id)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "FAILED"}, "is FAILED; only a FINISHED run can be promoted"),
        ({"metrics": {"accuracy": 0.9}}, "was not timed; run it with benchmark=default"),
    ],
)
def test_a_run_that_cannot_be_promoted_says_why(
    client: MlflowClient, experiment: str, change: dict[str, object], reason: str
) -> None:
    with pytest.raises(PipelineError, match=reason):
        Registry("classifier").candidate(logged(client, experiment, **change))


def test_without_a_registered_model_or_alias_there_is_no_champion(client: MlflowClient) -> None:
    assert Registry("classifier").champion() is None
    client.create_registered_model("classifier")
    assert Registry("classifier").champion() is None


def test_a_champion_whose_run_is_gone_is_an_error(client: MlflowClient, experiment: str) -> None:
    run_id = logged(client, experiment)
    client.create_registered_model("classifier")
    client.create_model_version("classifier", "artifacts", run_id)
    client.set_registered_model_alias("classifier", "champion", "1")
    champion = Registry("classifier").champion()
    assert champion is not None
    assert champion.run_id == run_id
    client.set_tag(run_id, "shipped", "onnx_int8")
    client.update_run(run_id, status="FAILED")
    with pytest.raises(PipelineError, match="the champion cannot be compared with: run"):
        Registry("classifier").champion()


def test_the_best_of_a_sweep_is_the_most_accurate_on_validation_and_then_the_fastest(
    client: MlflowClient, experiment: str
) -> None:
    parent = client.create_run(experiment, tags={"sweep.key": "1"}, run_name="a sweep")
    of_sweep = {"mlflow.parentRunId": parent.info.run_id}
    for accuracy, speedup in ((0.8, 9.0), (0.9, 2.0), (0.9, 3.0)):
        figures = {"validation_accuracy": accuracy, "accuracy": 1 - accuracy, "speedup": speedup}
        metrics = METRICS | figures
        run_id = logged(client, experiment, metrics, **of_sweep)
    logged(client, experiment, {**METRICS, "validation_accuracy": 1.0}, "FAILED", **of_sweep)
    assert Registry("classifier").best_of_sweep("latest") == run_id


def test_the_best_of_a_sweep_follows_the_objectives_of_the_sweep(
    client: MlflowClient, experiment: str
) -> None:
    parent = client.create_run(experiment, tags={"sweep.key": "1"}, run_name="a sweep")
    client.log_param(parent.info.run_id, "objective", "loss, accuracy")
    of_sweep = {"mlflow.parentRunId": parent.info.run_id}
    _, best, _ = (
        logged(client, experiment, METRICS | {"loss": loss, "accuracy": accuracy}, **of_sweep)
        for loss, accuracy in ((0.5, 0.9), (0.4, 0.8), (0.4, 0.7))
    )
    assert Registry("classifier").best_of_sweep("latest") == best


def test_a_sweep_without_a_finished_run_is_named(client: MlflowClient, experiment: str) -> None:
    client.create_run(experiment, tags={"sweep.key": "1"}, run_name="a sweep")
    with pytest.raises(PipelineError, match="sweep a sweep: none of its 0 runs is FINISHED"):
        Registry("classifier").best_of_sweep("a sweep")


def test_a_decision_is_a_tag_and_a_file_of_the_run(
    client: MlflowClient, experiment: str, tmp_path: Path
) -> None:
    registry = Registry("classifier")
    candidate = registry.candidate(logged(client, experiment))
    registry.log_decision(candidate, "refused: too slow", [])
    assert client.get_run(candidate.run_id).data.tags["promotion"] == "refused: too slow"
    (file,) = tmp_path.rglob("promotion.json")
    assert '"refused: too slow"' in file.read_text()
