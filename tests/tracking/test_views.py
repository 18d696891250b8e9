import base64
import json
import zlib
from typing import Any

from mlflow.tracking import MlflowClient

from pipeline.config.schema import TrackingConfig
from pipeline.tracking import views
from pipeline.tracking.connection import open_experiment

TAG_LENGTH = 5000  # of an experiment, in MLflow's database


def state_of(tag: str) -> dict[str, Any]:
    """Read a view as the UI does: plain, or an envelope, with or without compression."""
    value = json.loads(tag)["state"] if tag.startswith("{") else tag
    packed = base64.b64decode(value.removeprefix("deflate;"))
    return dict(json.loads(zlib.decompress(packed)))


def test_an_experiment_has_views_that_name_figures_which_runs_log(store: str) -> None:
    opened = open_experiment(TrackingConfig(store))
    tags = opened.client.get_experiment(opened.experiment_id).tags
    states = {tag: state_of(value) for tag, value in tags.items() if tag.startswith(views.PREFIX)}
    assert len(states) == 4
    assert all(len(tags[tag]) < TAG_LENGTH for tag in states)
    runs = states[views.PREFIX + "runs"]
    assert (runs["orderByKey"], runs["orderByAsc"]) == ("metrics.`validation_accuracy`", False)
    assert runs["selectedColumns"][:2] == ["metrics.`validation_accuracy`", "metrics.`accuracy`"]
    charts = states[views.PREFIX + "accuracy-latency"]
    sections = {section["uuid"] for section in charts["compareRunSections"]}
    assert {card["metricSectionId"] for card in charts["compareRunCharts"]} == sections
    assert [card["type"] for card in charts["compareRunCharts"]] == ["SCATTER"] * 2 + ["PARALLEL"]
    uuids = [card["uuid"] for card in charts["compareRunCharts"]]
    assert len(set(uuids)) == len(uuids)
    curves = states[views.PREFIX + "training"]["compareRunCharts"]
    assert curves[0]["metricKey"] == "validation/accuracy"


def test_views_of_another_version_are_replaced_and_those_that_somebody_saved_anew_stay(
    store: str,
) -> None:
    opened = open_experiment(TrackingConfig(store))
    client, experiment_id = opened.client, opened.experiment_id
    theirs = {"name": "mine", "createdAt": views.MADE_AT, "updatedAt": 1_790_000_000, "state": "{}"}
    ours = {**theirs, "updatedAt": views.MADE_AT}
    client.set_experiment_tag(experiment_id, views.PREFIX + "runs", json.dumps(theirs))
    client.set_experiment_tag(experiment_id, views.PREFIX + "training", json.dumps(ours))
    client.set_experiment_tag(experiment_id, views.PREFIX + "recipes", "no JSON")
    open_experiment(TrackingConfig(store))
    tags = MlflowClient(store).get_experiment(experiment_id).tags
    assert json.loads(tags[views.PREFIX + "runs"]) == theirs
    for name in ("training", "recipes"):
        tag = views.PREFIX + name
        assert tags[tag] == views.view_tags()[tag]


def test_a_sweep_has_a_view_of_its_own_jobs() -> None:
    tag, value = views.jobs_view("abc", "validation_accuracy")
    state = state_of(value)
    assert state["searchFilter"] == "tags.`mlflow.parentRunId` = 'abc'"
    assert state["orderByKey"] == "metrics.`validation_accuracy`"
    assert state["selectedColumns"] == list(views.COLUMNS)
    _, by_latency = views.jobs_view("abc", "onnx_int8/latency_p50_ms")
    assert (state_of(by_latency)["orderByKey"], state_of(by_latency)["orderByAsc"]) == (
        "metrics.`onnx_int8/latency_p50_ms`",
        True,
    )
    assert state_of(by_latency)["selectedColumns"][0] == "metrics.`onnx_int8/latency_p50_ms`"
    assert views.runs_place("7", "abc").endswith(f"viewStateShareKey={tag.split('.')[-1]}")
