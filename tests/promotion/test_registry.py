from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.console.markdown import escaped
from pipeline.errors import PipelineError
from pipeline.promotion.registry import Registry

METRICS = {
    "accuracy": 0.9,
    "accuracy_ci_low": 0.88,
    "accuracy_ci_high": 0.92,
    "validation_accuracy": 0.92,
    "fp32/validation_accuracy": 0.93,
    "speedup": 4.0,
}
TAGS = {"shipped": "onnx_int8"}


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
    corpus: tuple[str, str] = ("emotion", "abc"),
    **tags: str,
) -> str:
    """Write a run as the pipeline leaves it, on a corpus of a name with a validation digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    name, digest = corpus
    run_id = client.create_run(experiment, tags={**TAGS, **tags}).info.run_id
    client.log_param(run_id, "dataset.name", name)
    for figure, value in metrics.items():
        client.log_metric(run_id, figure, value)
    dataset = Dataset("validation", digest, "local", "{}")
    context = InputTag("mlflow.data.context", "validation")
    client.log_inputs(run_id, [DatasetInput(dataset, [context])])
    client.set_terminated(run_id, status)
    return run_id


def test_a_candidate_is_judged_by_validation_and_reports_test(
    client: MlflowClient, experiment: str
) -> None:
    run = Registry("classifier").shipped(logged(client, experiment))
    assert run.accuracy_drop == pytest.approx(0.01)
    assert (run.speedup, run.test_accuracy, run.test_interval) == (4.0, 0.9, (0.88, 0.92))
    assert run.digests == {"validation": "abc"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "FAILED"}, "is FAILED; only a FINISHED run can be promoted"),
        ({"metrics": {"accuracy": 0.9}}, "was not timed; run it with benchmark=default"),
        (
            {"metrics": {"accuracy": 0.9, "speedup": 4.0}},
            "has no figure fp32/validation_accuracy, .*; repeat it: .* -m pipeline rerun=[0-9a-f]+"
            " tracking=server$",
        ),
    ],
)
def test_a_run_that_cannot_be_promoted_says_why(
    client: MlflowClient, experiment: str, change: dict[str, object], reason: str
) -> None:
    with pytest.raises(PipelineError, match=reason):
        Registry("classifier").shipped(logged(client, experiment, **change))


def test_without_a_registered_model_or_alias_there_is_no_champion(client: MlflowClient) -> None:
    assert Registry("classifier").champion() is None
    client.create_registered_model("classifier")
    assert Registry("classifier").champion() is None


def test_a_champion_whose_files_are_gone_is_an_error_with_a_way_out(
    client: MlflowClient, experiment: str
) -> None:
    run_id = logged(client, experiment)
    client.create_registered_model("classifier")
    client.create_model_version("classifier", "file:///nowhere/artifacts", run_id)
    client.set_registered_model_alias("classifier", "champion", "1")
    registry = Registry("classifier")
    assert registry.champion() == run_id
    with pytest.raises(PipelineError, match=r"the champion cannot be measured: .* Take the alias"):
        registry.champion_directory()


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


def test_a_run_of_a_sweep_is_one_of_its_finished_jobs(
    client: MlflowClient, experiment: str
) -> None:
    parent = client.create_run(experiment, tags={"sweep.key": "1"}, run_name="a sweep")
    of_sweep = {"mlflow.parentRunId": parent.info.run_id}
    ids = [logged(client, experiment, METRICS, **of_sweep) for _ in range(3)]
    logged(client, experiment, METRICS, "FAILED", **of_sweep)
    assert Registry("classifier").shipped(ids[0]).chosen_from == 3
    assert Registry("classifier").shipped(logged(client, experiment, METRICS)).chosen_from == 1


@pytest.mark.parametrize(
    ("harder", "easier", "names"),
    [
        (("emotion", "abc"), ("trec", "def"), ("emotion", "trec")),
        # A swept dataset.split_seed makes other validation texts of one corpus.
        (("emotion", "abc"), ("emotion", "def"), (r"emotion \(abc\)", r"emotion \(def\)")),
    ],
)
def test_runs_on_other_texts_are_no_rivals(
    client: MlflowClient,
    experiment: str,
    harder: tuple[str, str],
    easier: tuple[str, str],
    names: tuple[str, str],
) -> None:
    parent = client.create_run(experiment, tags={"sweep.key": "1"}, run_name="a sweep")
    of_sweep = {"mlflow.parentRunId": parent.info.run_id}
    ids = [
        logged(
            client,
            experiment,
            {**METRICS, "validation_accuracy": accuracy},
            corpus=corpus,
            **of_sweep,
        )
        for accuracy, corpus in ((0.8, harder), (0.9, harder), (0.97, easier))
    ]
    registry = Registry("classifier")
    first, second = names
    with pytest.raises(
        PipelineError,
        match="^sweep a sweep has runs on 2 corpora, whose figures are no rivals; promote the best "
        rf"run of one corpus by its id: {ids[1]} \({first}, validation_accuracy 0.9\), "
        rf"{ids[2]} \({second}, validation_accuracy 0.97\).$",
    ):
        registry.best_of_sweep("latest")
    assert [registry.shipped(run_id).chosen_from for run_id in ids] == [2, 2, 1]


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
    run_id = logged(client, experiment)
    registry.log_decision(run_id, "refused: too slow", [])
    assert client.get_run(run_id).data.tags["promotion"] == "refused: too slow"
    (file,) = tmp_path.rglob("promotion.json")
    assert '"refused: too slow"' in file.read_text()


def test_a_description_that_somebody_wrote_stays_and_a_long_card_is_cut_between_lines(
    client: MlflowClient, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(source: str, name: str) -> object:
        return client.create_model_version(name, source, source.split("/")[1])

    monkeypatch.setattr("mlflow.register_model", register)
    registry = Registry("classifier")
    card = "\n".join(["# a card", *["a line of it"] * 500])
    registry.promote(logged(client, experiment), card)
    shown = client.get_registered_model("classifier").description
    assert len(shown) <= 5000
    assert shown.endswith("a line of it\n\nThe rest is in model_card.md of the run.")
    registry.promote(logged(client, experiment), "the second card")
    assert client.get_registered_model("classifier").description == "the second card"
    client.update_registered_model("classifier", "the second card\n\nLicence: CC-BY")
    run_id = logged(client, experiment)
    assert registry.promote(run_id, "the third card") == "3"
    assert client.get_registered_model("classifier").description.endswith("Licence: CC-BY")
    assert client.get_model_version("classifier", "3").description == "the third card"
    assert [file.path for file in client.list_artifacts(run_id)] == ["model_card.md"]

    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(registry._client, "set_registered_model_alias", fails)
    run_id = logged(client, experiment)
    with pytest.raises(PipelineError, match="the tracking store .* cannot be used: disk full"):
        registry.promote(run_id, "the fourth card")
    assert not client.list_artifacts(run_id), "nothing half done"


def test_labels_of_a_card_are_no_markup() -> None:
    assert escaped("a` <img src=x>\n# [b](c)") == r"a\` \<img src=x\> \# \[b\](c)"
