from types import SimpleNamespace

import pytest

from pipeline.config.identity import Ingredients
from pipeline.errors import PipelineError
from pipeline.sweeps.parent_run import ChildRun
from pipeline.sweeps.sweep import Sweep

DIGESTS = {"train": "a", "validation": "b", "test": "c"}
NOW = Ingredients(DIGESTS, ["cold", "hot"], model="d")


def sweep_of(child: ChildRun) -> Sweep:
    parent = SimpleNamespace(run_id="p", children=lambda: [child])
    sweep = Sweep(parent, None, None, None)
    sweep._ingredients_of = lambda _: NOW
    return sweep


def child(digests: dict[str, str], status: str = "FINISHED") -> ChildRun:
    return ChildRun("1", "trial", status, "", "k", NOW.tags, digests, {}, 0, 1)


def test_a_search_does_not_go_on_beside_trials_on_other_data() -> None:
    other = {**DIGESTS, "test": "e"}
    sweep_of(child(DIGESTS)).check_unchanged(None)
    sweep_of(child(other, status="FAILED")).check_unchanged(None)
    line = "changes: the test split; sweep.fresh=true searches anew"
    with pytest.raises(PipelineError, match=line):
        sweep_of(child(other)).check_unchanged(None)


class Parent:
    """The run of a sweep whose jobs a test adds, and what it is told to remove."""

    run_id = "p"

    def __init__(self, *earlier: ChildRun) -> None:
        self.jobs = list(earlier)
        self.discarded: list[str] = []

    def children(self, _: float = 0.0) -> list[ChildRun]:
        return list(self.jobs)

    def log_progress(self, *_: object) -> None:
        """Log nothing."""

    def discard_models(self, children: list[ChildRun]) -> str:
        self.discarded += [each.run_id for each in children]
        return ""


def job(run_id: str, key: str, accuracy: float, status: str = "FINISHED") -> ChildRun:
    metrics = {"validation_accuracy": accuracy}
    return ChildRun(run_id, run_id, status, "", key, {}, {}, metrics, 0, 1)


def opened(parent: Parent) -> Sweep:
    return Sweep(parent, None, SimpleNamespace(objectives=["validation_accuracy"]), None)


def test_the_best_job_and_those_as_good_keep_their_models() -> None:
    parent = Parent()
    sweep = opened(parent)
    for each in (job("a", "a", 0.8), job("b", "b", 0.9), job("c", "c", 0.9)):
        parent.jobs.append(each)
        sweep._log_progress()
    assert set(parent.discarded) == {"a"}
    parent.jobs += [job("d", "d", 0.7), job("e", "e", 0.0, "FAILED"), job("f", "f", 0.0, "RUNNING")]
    sweep._log_progress()
    assert set(parent.discarded) == {"a", "d"}, "what did not finish may still run elsewhere"


def test_runs_that_something_has_changed_since_are_no_rivals_and_keep_theirs() -> None:
    parent = Parent(job("a0", "a", 0.95), job("b0", "b", 0.93))
    sweep = opened(parent)
    for each in (job("a1", "a", 0.80), job("b1", "b", 0.78)):
        parent.jobs.append(each)
        sweep._log_progress()
    assert set(parent.discarded) == {"b1"}


def test_a_sweep_that_goes_on_removes_nothing_of_its_earlier_start() -> None:
    earlier = [job("a", "a", 0.8), job("b", "b", 0.9)]
    parent = Parent(*earlier)
    sweep = opened(parent)
    sweep._settled += earlier
    sweep._log_progress()
    assert not parent.discarded
    parent.jobs.append(job("c", "c", 0.85))
    sweep._log_progress()
    assert parent.discarded == ["c"], "one of the earlier start is better"
