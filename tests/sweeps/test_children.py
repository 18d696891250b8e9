from collections.abc import Callable

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.errors import PipelineError
from pipeline.sweeps import children as module
from pipeline.sweeps.children import Children, Place

MINUTE_MS = 60_000
NOW_MS = 10**12


class Counting(MlflowClient):
    """A client that gives three runs a page, and counts pages and runs."""

    pages = 0
    runs = 0
    away = False

    def search_runs(self, *args: object, **options: object) -> object:
        if self.away:
            raise MlflowException("connection refused")
        page = super().search_runs(*args, **{**options, "max_results": 3})
        self.pages += 1
        self.runs += len(page)
        return page


class Clock:
    """The time of this process, in ms."""

    now_ms = NOW_MS

    def time(self) -> float:
        return self.now_ms / 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def client(store: str) -> Counting:
    return Counting(store)


@pytest.fixture
def children(client: Counting, clock: Clock) -> Children:
    return Children(Place(client, "0", "p"), ["loss"], lambda request, _: request())


@pytest.fixture
def begin(client: Counting) -> Callable[..., str]:
    """Begin the run of a job, so many minutes ago."""

    def run_id(job: str, minutes_ago: float = 0.0) -> str:
        tags = {"mlflow.parentRunId": "p", "config.hash": job}
        started_ms = int(NOW_MS - minutes_ago * MINUTE_MS)
        return str(client.create_run("0", started_ms, tags, job).info.run_id)

    return run_id


def statuses(children: Children) -> dict[str, str]:
    return {child.name: child.status for child in children}


@pytest.mark.parametrize("earlier", [1, 8])
def test_what_a_further_job_costs_does_not_depend_on_how_many_there_are(
    client: Counting, children: Children, begin: Callable[..., str], earlier: int
) -> None:
    for number in range(earlier):
        client.set_terminated(begin(f"old {number}", minutes_ago=30 - number))
    assert len(children.read()) == earlier, "all pages"
    client.pages = client.runs = 0
    new = begin("new")
    assert [child.name for child in children.read()] == ["new"]
    client.log_metric(new, "loss", 0.5)
    client.set_terminated(new)
    (ended,) = children.read()
    assert (ended.status, ended.metrics) == ("FINISHED", {"loss": 0.5})
    assert children.read() == []
    assert (client.pages, client.runs) == (4, 3), "new, once more for late clocks, its end"
    assert (children.seen, children.statuses["FINISHED"]) == (earlier + 1, earlier + 1)


def test_the_runs_of_another_sweep_in_the_same_experiment_are_left_out(
    client: Counting, children: Children, begin: Callable[..., str]
) -> None:
    begin("old")
    children.read()
    client.create_run("0", NOW_MS, {"mlflow.parentRunId": "q", "config.hash": "other"}, "other")
    client.create_run("0", NOW_MS, {"config.hash": "by itself"}, "by itself")
    begin("own")
    assert [child.name for child in children.read()] == ["own"]
    assert statuses(children) == {"old": "RUNNING", "own": "RUNNING"}


def test_what_others_run_beside_a_long_job_is_read_once(
    client: Counting, children: Children, begin: Callable[..., str], clock: Clock
) -> None:
    begin("own", minutes_ago=1)
    children.read()
    for number in range(6):
        tags = {"mlflow.parentRunId": "q", "config.hash": str(number)}
        client.set_terminated(client.create_run("0", NOW_MS + 1000, tags).info.run_id)
    client.runs = 0
    read = []
    for _ in range(3):
        clock.now_ms += MINUTE_MS
        assert children.read() == []
        read.append(client.runs)
    assert read == [6 + 1, 6 + 2, 6 + 3], "theirs, and each time the own one"


def test_a_job_is_followed_to_its_end_though_its_clock_is_late(
    client: Counting, children: Children, begin: Callable[..., str]
) -> None:
    client.set_terminated(begin("first"))
    children.read()
    late = begin("late", minutes_ago=20)
    children.read()
    assert statuses(children) == {"first": "FINISHED", "late": "RUNNING"}
    assert children.running
    client.set_terminated(late, "KILLED")
    children.read()
    assert children.latest("late").status == "KILLED"
    assert not children.running
    client.set_terminated(begin("late and short", minutes_ago=20))
    assert children.read() == [], "it ran between two reads"
    assert [each.status for each in children.read_jobs(["late and short", "none"])] == ["FINISHED"]


def test_the_newest_run_of_a_job_counts_and_one_that_finished_stands(
    client: Counting, children: Children, begin: Callable[..., str]
) -> None:
    finished = begin("a", minutes_ago=9)
    client.set_terminated(finished)
    failed = begin("a", minutes_ago=8)
    client.set_terminated(failed, "FAILED")
    children.read()
    assert children.latest("a").run_id == failed
    assert children.settled("a").run_id == finished
    assert children.statuses["FAILED"] == 1
    assert children.statuses["FINISHED"] == 0


def test_a_run_that_somebody_deletes_is_forgotten(
    client: Counting, children: Children, begin: Callable[..., str]
) -> None:
    client.set_terminated(begin("first", minutes_ago=5))
    deleted = begin("deleted", minutes_ago=4)
    begin("third")
    children.read()
    client.delete_run(deleted)
    children.read()
    assert statuses(children) == {"first": "FINISHED", "third": "RUNNING"}
    assert children.latest("deleted") is None


def test_what_ends_while_the_store_is_away_is_read_when_it_is_back(
    client: Counting, children: Children, begin: Callable[..., str], clock: Clock
) -> None:
    clock.now_ms = NOW_MS - 9 * MINUTE_MS
    running = begin("running", minutes_ago=9)
    children.read()
    client.set_terminated(running)
    client.set_terminated(begin("short", minutes_ago=5))
    client.away = True
    clock.now_ms = NOW_MS
    with pytest.raises(PipelineError, match="connection refused"):
        children.read()
    client.away = False
    assert {child.name for child in children.read()} == {"short", "running"}
