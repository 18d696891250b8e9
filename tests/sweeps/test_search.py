"""Searches whose jobs answer at once: what is suggested is tested, not what is trained."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig
from optuna.trial import TrialState

from pipeline.config.schema import register
from pipeline.names import FAILED, FINISHED
from pipeline.sweeps import search, sweepers, trials
from pipeline.sweeps.children import ChildRun
from pipeline.sweeps.jobs import Job, Outcome
from pipeline.sweeps.search import OptunaSearch, SearchOptions, _search_space
from tests.conftest import CONF

SPACE = [
    "trainer.learning_rate=tag(log,interval(1e-4,1e-2))",
    "trainer.weight_decay=interval(0.0,0.1)",
]
TRIALS = 9
BATCH = 2


class Sweep:
    """A sweep whose jobs end at once; one of them fails, and one launch is killed."""

    def __init__(
        self, killed_at_launch: int | None, failing: list[tuple[float, float]], run_id: str
    ) -> None:
        self.run_id = run_id
        self._failing = failing
        self.suggested: list[tuple[float, float]] = []
        self._launches = 0
        self._killed_at_launch = killed_at_launch

    def skip(self, jobs: int) -> None:
        """Take the number of jobs."""

    def is_over(self, sweep_id: str) -> bool:
        return sweep_id == self.run_id

    def check_unchanged(self, corners: Sequence[Job]) -> None:
        """Find that nothing has changed."""

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        self._launches += 1
        if self._launches == self._killed_at_launch:
            raise KeyboardInterrupt
        return [self._ended(job) for job in jobs]

    def _ended(self, job: Job) -> Outcome:
        point = (job.config.trainer.learning_rate, job.config.trainer.weight_decay)
        self.suggested.append(point)
        self._failing = self._failing or [point]
        metrics = {"accuracy": 1 - abs(point[0] - 2e-3) - point[1], "loss": point[0]}
        child = ChildRun("b", "job", FINISHED, "", job.key, "0", {}, metrics, 0, 1)
        failed = point in self._failing
        return Outcome(job, FAILED if failed else FINISHED, None if failed else child)


@pytest.fixture
def searched(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[tuple[float, float]]]:
    """Search, interrupted in a launch or not, and return every point whose job ended."""
    register()
    sweepers.register()

    def run(
        sampler: str,
        storage: str,
        killed_at_launch: int | None,
        failing: Sequence[tuple[float, float]] = (),
        run_id: str = "a",
    ) -> list[tuple[float, float]]:
        typed = [
            "experiment=quickstart",
            "hydra/sweeper=optuna",
            f"hydra/sweeper/sampler={sampler}",
        ]
        typed += [f"objective=[{'accuracy,loss' if sampler == 'nsgaii' else 'accuracy'}]"]

        def composed(line: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
            with initialize_config_dir(str(CONF)):
                return compose("config", [*typed, *line], return_hydra_config=with_hydra)

        config = composed([], with_hydra=True)
        options = {key: config.hydra.sweeper[key] for key in ("sampler", "params")}
        options["study_name"] = "shared"
        options |= {"storage": f"sqlite:///{here}/{storage}", "n_trials": TRIALS, "n_jobs": BATCH}
        optuna_search = OptunaSearch(SearchOptions(**options))
        optuna_search.config = config
        sweep = Sweep(killed_at_launch, list(failing), run_id)
        monkeypatch.setattr(search, "open_sweep", lambda *_: contextlib.nullcontext(sweep))
        monkeypatch.setattr(optuna_search, "_composer", lambda: composed)
        optuna_search.launcher = None
        with contextlib.suppress(KeyboardInterrupt):
            optuna_search.sweep(list(SPACE))
        return sweep.suggested

    return run


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii"])
def test_a_search_that_was_interrupted_suggests_what_one_that_was_not_would(
    searched: Callable[..., list[tuple[float, float]]], sampler: str
) -> None:
    whole = searched(sampler, "whole.db", None)
    before = searched(sampler, "cut.db", 3)
    after = searched(sampler, "cut.db", None, failing=before[:1])
    assert len(before) == 2 * BATCH
    again = before[0]  # its job failed: it is repeated after the batch that was killed
    assert after.index(again) == BATCH
    assert before + [point for point in after if point != again] == whole
    assert len(set(whole)) == TRIALS


def test_the_failed_jobs_of_a_search_run_again_and_nothing_else(
    searched: Callable[..., list[tuple[float, float]]],
) -> None:
    whole = searched("tpe", "whole.db", None)
    assert searched("tpe", "whole.db", None, failing=[(0.0, 0.0)]) == whole[:1]
    assert searched("tpe", "whole.db", None) == []


def test_two_sweeps_of_one_study_take_each_others_trials_for_neither_lost_nor_left(
    searched: Callable[..., list[tuple[float, float]]],
) -> None:
    none_fails = [(0.0, 0.0)]
    before = searched("tpe", "shared.db", 2, failing=none_fails, run_id="a")
    other = searched("tpe", "shared.db", None, failing=none_fails, run_id="b")
    assert len(before) == BATCH
    assert len(other) == TRIALS - 2 * BATCH, "a batch of the first sweep is in flight"
    after = searched("tpe", "shared.db", None, failing=none_fails, run_id="a")
    assert len(after) == BATCH
    assert len({*before, *other, *after}) == TRIALS


def test_two_sweeps_that_start_at_the_same_moment_draw_different_values(
    searched: Callable[..., list[tuple[float, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded = OptunaSearch._seeded_sampler
    other: list[list[tuple[float, float]]] = []

    def after_the_other(self: OptunaSearch, trials: int) -> optuna.samplers.BaseSampler:
        monkeypatch.setattr(OptunaSearch, "_seeded_sampler", seeded)
        other.append(searched("tpe", "shared.db", 2, failing=[(0.0, 0.0)], run_id="b"))
        return seeded(self, trials)

    # The first has looked for others, and has not asked for a trial yet.
    monkeypatch.setattr(OptunaSearch, "_seeded_sampler", after_the_other)
    first = searched("tpe", "shared.db", 2, failing=[(0.0, 0.0)], run_id="a")
    assert len(first) == len(other[0]) == BATCH
    assert len({*first, *other[0]}) == 2 * BATCH


def test_what_several_sweeps_ask_for_at_the_same_moment_is_not_more_than_is_asked_for() -> None:
    study = optuna.create_study()
    asked = [trials.marked(study.ask(), "a") for _ in range(4)]
    assert [trials.withdraw_surplus(study, trial, 3) for trial in asked] == [
        False,
        False,
        False,
        True,
    ]
    study.tell(asked[0], state=TrialState.FAIL)
    trials.repeat_failed(study, lambda _: True)
    assert not trials.withdraw_surplus(study, study.ask(), 3), "a repeated trial counts once"
    assert trials.withdraw_surplus(study, study.ask(), 3)


def test_the_choices_of_a_search_keep_the_quotes_that_they_need() -> None:
    space = _search_space(["a=choice('a,1.csv','b','null','10')", "b=choice([1,4],[0,3])"])
    assert space.distributions["a"].choices == ("'a,1.csv'", "b", "'null'", "'10'")
    assert space.distributions["b"].choices == ("[1,4]", "[0,3]")
    parsed = OverridesParser.create().parse_overrides(list(space.overrides({"a": "'a,1.csv'"})))
    assert [each.value() for each in parsed] == ["a,1.csv"]


def test_a_study_stores_nothing_of_what_is_fixed() -> None:
    space = _search_space(["a=interval(0,1)", "b='http://team:secret@host'"])
    study = optuna.create_study()
    (swept, fixed) = space.suggested(study.ask())
    assert swept.startswith("a=0.")
    assert fixed == "b='http://team:secret@host'"
    assert "secret" not in str(study.get_trials())
