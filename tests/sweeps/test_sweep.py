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
