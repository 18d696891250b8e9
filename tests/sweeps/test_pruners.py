from collections.abc import Sequence

import pytest

from pipeline.config.schema import SweepConfig
from pipeline.errors import JobPrunedError, PipelineError
from pipeline.sweeps.pruners import with_pruner

FINISHED = [{10: 0.50, 20: 0.70}, {10: 0.60, 20: 0.80}, {10: 0.70, 20: 0.90}]


def test_a_job_below_the_median_of_finished_runs_is_stopped_after_its_point_is_logged() -> None:
    logged: list[int] = []
    log = with_pruner(
        lambda entries, step: logged.append(step),
        SweepConfig(pruner="median", pruner_startup_trials=3),
        lambda _: FINISHED,
    )
    log({"train/loss": 9.0}, 5)
    log({"validation/accuracy": 0.65}, 10)
    with pytest.raises(
        JobPrunedError,
        match=r"validation accuracy 0.7500 up to step 20 is below the median of 3 finished runs",
    ):
        log({"validation/accuracy": 0.75}, 20)
    assert logged == [5, 10, 20]


@pytest.mark.parametrize(
    ("startup", "warmup", "step"),
    [(4, 0, 10), (3, 15, 10), (3, 0, 15)],
    ids=["too few have finished", "too early", "nobody was seen at that step"],
)
def test_a_job_that_cannot_be_judged_goes_on(startup: int, warmup: int, step: int) -> None:
    config = SweepConfig(pruner="median", pruner_startup_trials=startup, pruner_warmup_steps=warmup)
    log = with_pruner(lambda *_: None, config, lambda _: FINISHED)
    log({"validation/accuracy": 0.1}, step)


def test_a_store_that_is_away_stops_no_job() -> None:
    def away(_: object) -> list:
        raise PipelineError("the tracking store cannot be used")

    with_pruner(lambda *_: None, SweepConfig(pruner="median", pruner_startup_trials=0), away)(
        {"validation/accuracy": 0.1}, 10
    )


HALVING = SweepConfig(
    pruner="successive_halving", pruner_startup_trials=3, pruner_reduction_factor=2
)
AT_RUNGS = {  # rungs at 10, 20 and 40 steps
    "FINISHED": [{10: 0.60, 20: 0.70, 30: 0.80, 40: 0.90}],
    "KILLED": [{10: 0.40}, {10: 0.50, 20: 0.60}],
    "RUNNING": [{}, {10: 0.55}],
}


def curves(statuses: Sequence[str]) -> list[dict[int, float]]:
    return [curve for status in statuses for curve in AT_RUNGS[status]]


def test_at_each_rung_the_best_half_goes_on_and_between_rungs_every_job() -> None:
    log = with_pruner(lambda *_: None, HALVING, curves)
    log({"validation/accuracy": 0.56}, 10)
    log({"validation/accuracy": 0.10}, 15)
    log({"validation/accuracy": 0.65}, 20)  # two others have come here: too few to judge
    log = with_pruner(lambda *_: None, HALVING, curves)
    with pytest.raises(
        JobPrunedError,
        match=r"accuracy 0.5400 at step 10 is not among the best 1 in 2 of 5 runs that came as far",
    ):
        log({"validation/accuracy": 0.54}, 10)


def test_steps_before_the_first_rung_are_not_judged() -> None:
    later = SweepConfig(
        pruner="successive_halving", pruner_startup_trials=1, pruner_warmup_steps=40
    )
    log = with_pruner(lambda *_: None, later, curves)
    log({"validation/accuracy": 0.0}, 10)
    with pytest.raises(JobPrunedError, match="at step 40 is not among the best 1 in 4 of 2 runs"):
        log({"validation/accuracy": 0.1}, 40)
