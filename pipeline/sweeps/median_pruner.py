"""Stop a job whose validation accuracy is below the median of the sweep's finished runs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.config.schema import SweepConfig
from pipeline.errors import JobPrunedError, PipelineError
from pipeline.names import VALIDATION_ACCURACY

if TYPE_CHECKING:
    import optuna

LogCurves = Callable[[Mapping[str, float], int], None]
"""Logs points of curves: value by the curve's name, and the step."""

Curve = Mapping[int, float]
"""Validation accuracy by step."""


def with_median_pruner(
    log_curves: LogCurves, config: SweepConfig, finished_curves: Callable[[], Sequence[Curve]]
) -> LogCurves:
    """Let Optuna's MedianPruner look at each point of the validation curve after it is logged.

    The pruner sees a study made of the finished runs' curves, which are in the tracking store: it
    works wherever a job runs, with every sweeper, and for several objectives, for which Optuna
    itself prunes nothing.

    Args:
        log_curves: function that logs points of curves.
        config: the sweep group, for pruner_startup_trials and pruner_warmup_steps.
        finished_curves: function that reads the validation curves of the sweep's finished runs.

    Returns:
        The function to call instead of log_curves. It raises JobPrunedError once the pruner gives
        the job up.
    """
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    curve: dict[int, float] = {}

    def log(entries: Mapping[str, float], step: int) -> None:
        log_curves(entries, step)
        if VALIDATION_ACCURACY not in entries:
            return
        curve[step] = entries[VALIDATION_ACCURACY]
        try:
            others = [other for other in finished_curves() if other]
        except PipelineError:  # a store that is away for a while stops no training
            return
        trial = _study(config, others).ask()
        for point, value in curve.items():
            trial.report(value, point)
        if trial.should_prune():
            raise JobPrunedError(
                f"validation accuracy {max(curve.values()):.4f} up to step {step} is below the "
                f"median of {len(others)} finished runs at that step"
            )

    return log


def _study(config: SweepConfig, curves: Sequence[Curve]) -> "optuna.Study":
    """Make a study in memory whose trials are the finished runs."""
    import optuna

    pruner = optuna.pruners.MedianPruner(config.pruner_startup_trials, config.pruner_warmup_steps)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for curve in curves:
        study.add_trial(
            optuna.trial.create_trial(value=max(curve.values()), intermediate_values=dict(curve))
        )
    return study
