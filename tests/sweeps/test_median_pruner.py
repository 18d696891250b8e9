import pytest

from pipeline.config.schema import SweepConfig
from pipeline.errors import JobPrunedError, PipelineError
from pipeline.sweeps.median_pruner import with_median_pruner

FINISHED = [{10: 0.50, 20: 0.70}, {10: 0.60, 20: 0.80}, {10: 0.70, 20: 0.90}]


def test_a_job_below_the_median_of_finished_runs_is_stopped_after_its_point_is_logged() -> None:
    logged: list[int] = []
    log = with_median_pruner(
        lambda entries, step: logged.append(step),
        SweepConfig(pruner_startup_trials=3),
        lambda: FINISHED,
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
    ("config", "step"),
    [
        (SweepConfig(pruner_startup_trials=4), 10),  # too few have finished
        (SweepConfig(pruner_startup_trials=3, pruner_warmup_steps=15), 10),  # too early
        (SweepConfig(pruner_startup_trials=3), 15),  # nobody was seen at that step
    ],
)
def test_a_job_that_cannot_be_judged_goes_on(config: SweepConfig, step: int) -> None:
    with_median_pruner(lambda *_: None, config, lambda: FINISHED)(
        {"validation/accuracy": 0.1}, step
    )


def test_a_store_that_is_away_stops_no_job() -> None:
    def away() -> list:
        raise PipelineError("the tracking store cannot be used")

    with_median_pruner(lambda *_: None, SweepConfig(pruner_startup_trials=0), away)(
        {"validation/accuracy": 0.1}, 10
    )
