import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking import siblings
from pipeline.tracking.siblings import Siblings

ACCURACY = "validation/accuracy"


def test_the_curve_of_a_job_that_has_ended_is_read_once_and_of_the_newest_only(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, histories = MlflowClient(store), []
    original = MlflowClient.get_metric_history

    def counted(self: MlflowClient, run_id: str, name: str) -> object:
        histories.append(run_id)
        return original(self, run_id, name)

    def job(status: str | None, *points: float) -> str:
        run = client.create_run("0", len(histories) + 1, {"mlflow.parentRunId": "p"})
        for step, value in enumerate(points, start=1):
            client.log_metric(run.info.run_id, ACCURACY, value, step=step)
        if status is not None:
            client.set_terminated(run.info.run_id, status)
        return str(run.info.run_id)

    monkeypatch.setattr(MlflowClient, "get_metric_history", counted)
    monkeypatch.setattr(siblings, "MOST_JOBS", 2)
    own, ended, running = job(None, 0.1), job("FINISHED", 0.2, 0.3), job(None, 0.4)
    job("FAILED", 0.9)
    others = Siblings(client, "0", "p", own)
    for _ in range(2):
        read = others.curves(["FINISHED", "RUNNING"])
        assert read == [{1: 0.2, 2: 0.3}, {1: 0.4}]
    assert (histories.count(ended), histories.count(running)) == (1, 2)
    client.set_terminated(running, "KILLED")
    assert others.curves(["KILLED"]) == [{1: 0.4}]
