import time

import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, UNAUTHENTICATED

from pipeline.tracking import outbox
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.patience import Patience


class Store:
    """A store that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.taken: list[Metric] = []
        self.tags: dict[str, str] = {}

    def log_batch(self, run_id: str, metrics: list[Metric], tags: list) -> None:
        if self.away:
            raise MlflowException("connection refused")
        self.taken += metrics
        self.tags |= {tag.key: tag.value for tag in tags}


def point(step: int) -> Metric:
    return Metric("loss", 1.0, 0, step)


def opened(store: Store) -> Outbox:
    return Outbox(store, "run", Patience(retry_s=0.02))


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_store_that_is_away_holds_nobody_up_and_gets_everything_later(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    box = opened(store)
    store.away = True
    started = time.monotonic()
    for step in range(1200):
        box.put([point(step)])
    assert time.monotonic() - started < 6  # waiting for a retry each would take 24 s
    time.sleep(0.2)
    assert store.taken == []
    store.away = False
    box.flush()
    box.close()
    assert [metric.step for metric in store.taken] == list(range(1200))
    said = [record.message for record in caplog.records]
    assert said == [
        "the tracking store does not answer; what the run logs is kept and sent again",
        "the tracking store answers again",
    ]


def test_patience_ends_with_what_the_store_said(store: Store) -> None:
    box = opened(store)
    store.away = True
    box.put([point(1)])
    with pytest.raises(MlflowException, match="connection refused"):
        box.flush(patience_s=0.2)
    box.close()


@pytest.mark.parametrize(
    "refusal",
    [
        MlflowException("the run is deleted", error_code=INVALID_PARAMETER_VALUE),
        TypeError("no batch"),
    ],
)
def test_a_refusal_is_told_at_once_and_not_asked_for_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    asked = []

    def refuse(*_: object, **__: object) -> None:
        asked.append(1)
        raise refusal

    monkeypatch.setattr(store, "log_batch", refuse)
    box = opened(store)
    box.put([point(1)])
    with pytest.raises(MlflowException, match=str(refusal)):
        box.flush(patience_s=60)
    with pytest.raises(MlflowException, match=str(refusal)):
        box.put([point(2)])
    assert len(asked) == 1
    box.close()


def test_expired_credentials_may_come_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [MlflowException("expired", error_code=UNAUTHENTICATED), OSError("reset"), None]

    def answer(*_: object, **__: object) -> None:
        if error := answers.pop(0):
            raise error

    monkeypatch.setattr(store, "log_batch", answer)
    box = opened(store)
    box.put([point(1)])
    box.flush(patience_s=60)
    box.close()
    assert not answers


def test_the_heart_of_a_run_that_logs_nothing_beats(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.02)
    monkeypatch.setattr(outbox, "HEARTBEAT_SECONDS", 0.05)
    box = opened(store)
    deadline = time.monotonic() + 5
    while "heartbeat" not in store.tags and time.monotonic() < deadline:
        time.sleep(0.02)
    box.close()
    assert abs(float(store.tags["heartbeat"]) - time.time()) < 10


@pytest.mark.parametrize("error", [MlflowException("bad", INVALID_PARAMETER_VALUE), KeyError("x")])
def test_the_heart_beats_on_when_metrics_are_refused_and_the_refusal_is_told(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.02)
    monkeypatch.setattr(outbox, "HEARTBEAT_SECONDS", 0.05)
    take = store.log_batch

    def refuse(run_id: str, metrics: list[Metric], tags: list) -> None:
        if metrics:
            raise error
        take(run_id, metrics, tags)

    monkeypatch.setattr(store, "log_batch", refuse)
    box = opened(store)
    box.put([point(1)])
    deadline = time.monotonic() + 5
    while "heartbeat" not in store.tags and time.monotonic() < deadline:
        time.sleep(0.02)
    box.close()
    assert "heartbeat" in store.tags
    said = [record.message for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith("the tracking store refuses metrics: ")
