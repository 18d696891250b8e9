from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.config.identity import Ingredients
from pipeline.errors import PipelineError
from pipeline.sweeps.children import ChildRun
from pipeline.sweeps.sweep import Sweep
from tests.sweeps.written import OBJECTIVE, WrittenChildren, run_of

DIGESTS = {"train": "a", "validation": "b", "test": "c"}
NOW = Ingredients(DIGESTS, ["cold", "hot"], model="d")


class Parent:
    """The run of a sweep whose jobs a test adds, and what it is told to remove."""

    run_id = "p"

    def __init__(self, *earlier: ChildRun) -> None:
        self.children = WrittenChildren(*earlier)
        self.discarded: list[str] = []
        self.counts: dict[str, int] = {}

    def log_progress(self, counts: dict[str, int], *_: object) -> None:
        self.counts = counts

    def discard_models(self, children: Sequence[ChildRun]) -> str:
        self.discarded += [each.run_id for each in children]
        return ""

    def mark_dead(self) -> None:
        """Set what is RUNNING to FAILED, as its process has ended."""
        stored = self.children.stored
        stored[:] = [
            replace(each, status="FAILED") if each.status == "RUNNING" else each for each in stored
        ]

    def renew_heartbeat(self) -> None:
        """Need no heartbeat."""


def opened(parent: Parent) -> Sweep:
    return Sweep(parent, None, SimpleNamespace(objectives=[OBJECTIVE]), None)


def ended(sweep: Sweep, *runs: ChildRun) -> None:
    """Let jobs end while the sweep goes on."""
    sweep._children.stored += runs
    sweep._after_read(bool(sweep._ended_after(0, 0.0)))


def test_a_search_does_not_go_on_beside_trials_on_other_data() -> None:
    def check(
        digests: dict[str, str], status: str = "FINISHED", corners: Sequence[Ingredients] = (NOW,)
    ) -> None:
        sweep = opened(Parent(replace(run_of("k", 0.8, status), tags=NOW.tags, digests=digests)))
        sweep._dependencies.of = lambda job: job
        sweep.check_unchanged(corners)

    other = {**DIGESTS, "test": "e"}
    check(DIGESTS)
    check(other, status="FAILED")
    line = "changes: the test split; sweep.fresh=true searches anew"
    with pytest.raises(PipelineError, match=line):
        check(other)
    # A key that is swept may change a part of the data; nothing else may.
    fewer_texts = replace(NOW, digests={**DIGESTS, "train": "f"})
    check({**DIGESTS, "train": "g"}, corners=[NOW, fewer_texts])
    with pytest.raises(PipelineError, match=line):
        check({**other, "train": "g"}, corners=[NOW, fewer_texts])


def test_the_best_job_and_those_as_good_keep_their_models() -> None:
    parent = Parent()
    sweep = opened(parent)
    ended(sweep, run_of("a", 0.8))
    ended(sweep, run_of("b", 0.9), run_of("c", 0.9))
    assert parent.discarded == ["a"]
    ended(sweep, run_of("d", 0.7), run_of("e", 0.0, "FAILED"), run_of("f", 0.0, "RUNNING"))
    assert parent.discarded == ["a", "d"], "what did not finish may still run elsewhere"
    assert parent.counts == {"done": 4, "failed": 1, "pruned": 0, "skipped": 0}


def test_runs_that_something_has_changed_since_are_no_rivals_and_keep_theirs() -> None:
    parent = Parent(run_of("a", 0.95, run_id="a0"), run_of("b", 0.93, run_id="b0"))
    sweep = opened(parent)
    ended(sweep, run_of("a", 0.80, run_id="a1"), run_of("b", 0.78, run_id="b1"))
    assert parent.discarded == ["b1"]


def test_a_sweep_that_goes_on_removes_nothing_of_its_earlier_start() -> None:
    parent = Parent(run_of("a", 0.8), run_of("b", 0.9))
    sweep = opened(parent)
    sweep._compare(sweep._children)
    ended(sweep)
    assert not parent.discarded
    ended(sweep, run_of("c", 0.85))
    assert parent.discarded == ["c"], "one of the earlier start is better"


def test_of_a_job_whose_process_was_killed_the_run_is_found_and_has_failed() -> None:
    parent = Parent(run_of("a", 0.8, "FAILED", run_id="a0"))
    sweep, jobs = opened(parent), [SimpleNamespace(key="a"), SimpleNamespace(key="b")]
    earlier = sweep._children.seen
    ended(sweep, run_of("a", 0.0, "RUNNING", run_id="a1"))
    assert sweep._run_after(earlier, jobs[0]).status == "RUNNING"
    sweep._look_for_lost(jobs, earlier)
    assert sweep._run_after(earlier, jobs[0]).status == "FAILED"
    assert sweep._run_after(earlier, jobs[0]).run_id == "a1"
    assert sweep._run_after(earlier, jobs[1]) is None
