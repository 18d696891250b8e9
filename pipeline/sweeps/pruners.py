"""Stop a job that learns worse than others of its sweep, as a pruner of Optuna's says."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.config.schema import SweepConfig
from pipeline.errors import JobPrunedError, PipelineError
from pipeline.names import FINISHED, KILLED, RUNNING, VALIDATION_ACCURACY

if TYPE_CHECKING:
    import optuna

LogCurves = Callable[[Mapping[str, float], int], None]
"""Logs points of curves: value by the curve's name, and the step."""

Curve = Mapping[int, float]
"""Validation accuracy by step."""

ReadCurves = Callable[[Sequence[str]], Sequence[Curve]]
"""Reads the validation curves of the sweep's other jobs whose runs have one of some statuses."""

Judge = Callable[[Curve, ReadCurves, SweepConfig], str | None]
"""Says why a job is given up at the last point of its curve, or None."""


def with_pruner(log_curves: LogCurves, config: SweepConfig, read_curves: ReadCurves) -> LogCurves:
    """Let a pruner of Optuna look at each point of the validation curve after it is logged.

    The pruner sees a study made of other jobs' curves, which are in the tracking store: it works
    wherever a job runs, with every sweeper, and for several objectives, for which Optuna itself
    prunes nothing.

    Args:
        log_curves: function that logs points of curves.
        config: the sweep group, for pruner and its options.
        read_curves: function that reads the validation curves of other jobs.

    Returns:
        The function to call instead of log_curves. It raises JobPrunedError once the pruner gives
        the job up.
    """
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    judge = _below_median if config.pruner == "median" else _behind_at_rung
    curve: dict[int, float] = {}

    def log(entries: Mapping[str, float], step: int) -> None:
        log_curves(entries, step)
        if VALIDATION_ACCURACY not in entries:
            return
        curve[step] = entries[VALIDATION_ACCURACY]
        try:
            reason = judge(curve, read_curves, config)
        except PipelineError:  # a store that is away for a while stops no training
            return
        if reason is not None:
            raise JobPrunedError(reason)

    return log


def _below_median(curve: Curve, read_curves: ReadCurves, config: SweepConfig) -> str | None:
    """Ask Optuna's MedianPruner: a job's best point against the median of finished jobs."""
    import optuna

    others = [other for other in read_curves([FINISHED]) if other]
    pruner = optuna.pruners.MedianPruner(config.pruner_startup_trials, config.pruner_warmup_steps)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for other in others:
        study.add_trial(
            optuna.trial.create_trial(value=max(other.values()), intermediate_values=dict(other))
        )
    if not _stops(study, curve):
        return None
    return (
        f"validation accuracy {max(curve.values()):.4f} up to step {max(curve)} is below the "
        f"median of {len(others)} finished runs at that step"
    )


def _behind_at_rung(curve: Curve, read_curves: ReadCurves, config: SweepConfig) -> str | None:
    """Ask Optuna's SuccessiveHalvingPruner, which is ASHA without a job that waits for others.

    A job is judged where its curve reaches a rung, against all jobs that came as far, those that
    were stopped there and those that still run included.
    """
    import optuna

    factor = config.pruner_reduction_factor
    first = max(config.pruner_warmup_steps, min(curve), 1)
    rungs = _rungs(curve, first, factor)
    step = max(curve)
    if step not in rungs:
        return None
    reached = [_rungs(other, first, factor) for other in read_curves((FINISHED, KILLED, RUNNING))]
    rivals = [other for other in reached if len(other) >= len(rungs)]
    if len(rivals) < config.pruner_startup_trials:
        return None
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for other in reached:
        _stops(study, other)
    if not _stops(study, rungs):
        return None
    return (
        f"validation accuracy {curve[step]:.4f} at step {step} is not among the best 1 in "
        f"{factor} of {len(rivals) + 1} runs that came as far"
    )


def _rungs(curve: Curve, first: int, factor: int) -> dict[int, float]:
    """Keep the points at which a curve reaches a rung: `first` steps, and each `factor` times more.

    Args:
        curve: validation accuracy by step.
        first: steps of the first rung.
        factor: how many times longer each next rung is.
    """
    points, rung = {}, first
    for step in sorted(curve):
        if step >= rung:
            points[step] = curve[step]
        while rung <= step:
            rung *= factor
    return points


def _stops(study: "optuna.Study", curve: Curve) -> bool:
    """Show a curve to a study's pruner point by point; say whether it stops at the last one."""
    trial, stops = study.ask(), False
    for step in sorted(curve):
        trial.report(curve[step], step)
        stops = trial.should_prune()
    return stops
