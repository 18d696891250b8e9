import time

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import PipelineError
from pipeline.tracking import lookup
from pipeline.tracking.liveness import process_tags
from pipeline.tracking.lookup import (
    children_of,
    find_experiment,
    find_run,
    find_sweep,
    last_attempts,
    newest_shipped,
    reason_of,
    registered_names,
    search_all,
    status_of,
)


def test_a_run_that_is_not_there_is_named(store: str) -> None:
    with pytest.raises(PipelineError, match=f"run {'0' * 32} is not in sqlite"):
        find_run(MlflowClient(store), "0" * 32)


@pytest.fixture
def client(store: str) -> MlflowClient:
    return MlflowClient(store)


def created(client: MlflowClient, name: str, status: str = "FINISHED", **tags: str) -> str:
    run_id = client.create_run("0", run_name=name, tags=tags).info.run_id
    client.set_terminated(run_id, status)
    return run_id


def test_every_page_of_a_search_is_read(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "PAGE", 2)
    ids = {created(client, f"run {number}") for number in range(5)}
    assert {run.info.run_id for run in search_all(client, ["0"], "")} == ids


def test_one_run_of_each_job_is_kept_the_newest_that_is_finished(client: MlflowClient) -> None:
    def job(name: str, key: str, status: str = "FINISHED") -> str:
        time.sleep(0.002)  # runs begin at different milliseconds
        tags = {"mlflow.parentRunId": "p" * 32, "config.hash": key}
        return created(client, name, status, **tags)

    job("on other data", "a")
    kept = {job("a", "a"), created(client, "alone"), created(client, "alone too")}
    job("failed later", "a", "FAILED")
    job("failed", "b", "FAILED")
    kept.add(job("failed again", "b", "FAILED"))
    runs = last_attempts(search_all(client, ["0"], ""))
    assert {run.info.run_id for run in runs} == kept


def test_a_sweep_is_found_by_id_name_or_as_the_latest(client: MlflowClient) -> None:
    with pytest.raises(PipelineError, match="there is no sweep yet"):
        find_sweep(client, "latest")
    first = created(client, "first", **{"sweep.key": "1"})
    second = created(client, "second", **{"sweep.key": "2"})
    assert find_sweep(client, "latest").info.run_id == second
    assert find_sweep(client, first).info.run_id == first
    assert find_sweep(client, "first").info.run_id == first
    with pytest.raises(
        PipelineError, match=rf"--sweep third is not a sweep; .* {second} \(second\)"
    ):
        find_sweep(client, "third")


def test_the_latest_sweep_is_the_one_that_runs_or_ran_last(client: MlflowClient) -> None:
    first = created(client, "first", **{"sweep.key": "1"})
    created(client, "second", **{"sweep.key": "2"})
    client.set_terminated(first, "FINISHED", end_time=time.time_ns() // 1_000_000 + 1000)
    assert find_sweep(client, "latest").info.run_id == first
    third = client.create_run("0", tags={"sweep.key": "3", **process_tags()}, start_time=1)
    assert find_sweep(client, "latest").info.run_id == third.info.run_id


def test_experiments_behind_the_first_page_are_searched_too(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MlflowClient.search_experiments

    def one_at_a_time(self: MlflowClient, **options: object) -> object:
        return original(self, **{**options, "max_results": 1})

    monkeypatch.setattr(MlflowClient, "search_experiments", one_at_a_time)
    sweeps = []
    for name in ("first", "second"):
        experiment_id = client.create_experiment(name)
        sweeps.append(client.create_run(experiment_id, tags={"sweep.key": name}).info.run_id)
    assert [find_sweep(client, sweep).info.run_id for sweep in sweeps] == sweeps
    for name in ("first", "second"):
        with pytest.raises(PipelineError, match=rf"did you mean {name}\?"):
            find_experiment(client, f"{name}s")


def test_more_registered_models_than_a_page_are_all_listed(client: MlflowClient) -> None:
    names = {f"model-{number}" for number in range(101)}
    for name in names:
        client.create_registered_model(name)
    assert set(registered_names(client)) == names


def test_the_jobs_of_a_sweep_come_in_the_order_of_their_start(client: MlflowClient) -> None:
    parent = find_run(client, created(client, "sweep"))
    of_sweep = {"mlflow.parentRunId": parent.info.run_id}
    created(client, "of another sweep", **{"mlflow.parentRunId": "0"})
    jobs = [created(client, "job", status, **of_sweep) for status in ("FINISHED", "FAILED")]
    assert [run.info.run_id for run in children_of(client, parent)] == jobs
    failed = children_of(client, parent, "attributes.status = 'FAILED'")
    assert [run.info.run_id for run in failed] == jobs[1:]


def test_a_pruned_job_has_a_status_and_a_reason_of_its_own(client: MlflowClient) -> None:
    pruned = find_run(client, created(client, "job", "KILLED", pruned="below the median"))
    failed = find_run(client, created(client, "job", "FAILED", failure="the loss became nan"))
    ending = find_run(client, created(client, "job", "RUNNING", pruned="below the median"))
    assert status_of(ending) == "RUNNING"
    assert (status_of(pruned), reason_of(pruned)) == ("PRUNED", "below the median")
    assert (status_of(failed), reason_of(failed)) == ("FAILED", "the loss became nan")


def test_only_a_finished_run_counts_as_the_newest_that_shipped(client: MlflowClient) -> None:
    with pytest.raises(PipelineError, match="no finished run has shipped a model yet"):
        newest_shipped(client)
    created(client, "the best of before, pruned", shipped="onnx_int8", kept="none")
    with pytest.raises(PipelineError, match="no finished run has all of its models any more"):
        newest_shipped(client)
    newest = created(client, "shipped", shipped="onnx_int8")
    created(client, "failed", "FAILED", shipped="onnx_int8")
    created(client, "without a model")
    created(client, "a job that is not the best", shipped="onnx_int8", kept="shipped")
    assert newest_shipped(client) == newest
