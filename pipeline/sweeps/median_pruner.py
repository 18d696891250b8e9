"""Stopping a job that has no hope: its validation accuracy against those of the sweep's finished runs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.config.schema import SweepConfig
from pipeline.errors import PipelineError, PrunedError

if TYPE_CHECKING:
    from pipeline.training.callbacks import LogMetrics

VALIDATION_ACCURACY = "validation/accuracy"
Curve = Mapping[int, float]


def pruned(
    log_curves: "LogMetrics", config: SweepConfig, finished: Callable[[], Sequence[Curve]]
) -> "LogMetrics":
    """Let Optuna's MedianPruner look at each point of the validation curve after it is logged.

    The pruner sees a study made of the finished runs' curves, which are in the tracking store: it works wherever a job runs,
    with every sweeper, and for several objectives, of which Optuna itself prunes none.

    Args:
        log_curves: logs points of curves, by name and step.
        config: pruner_startup_trials and pruner_warmup_steps.
        finished: reads the validation curves of the sweep's finished runs.

    Returns:
        What to call instead of log_curves; it raises PrunedError.
    """
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    seen: dict[int, float] = {}

    def log(entries: Mapping[str, float], step: int) -> None:
        log_curves(entries, step)
        if VALIDATION_ACCURACY not in entries:
            return
        seen[step] = entries[VALIDATION_ACCURACY]
        try:
            curves = [curve for curve in finished() if curve]
        except PipelineError:  # a store that is away for a while stops no training
            return
        pruner = optuna.pruners.MedianPruner(
            config.pruner_startup_trials, config.pruner_warmup_steps
        )
        study = optuna.create_study(direction="maximize", pruner=pruner)
        for curve in curves:
            study.add_trial(
                optuna.trial.create_trial(
                    value=max(curve.values()), intermediate_values=dict(curve)
                )
            )
        trial = study.ask()
        for point, value in seen.items():
            trial.report(value, point)
        if trial.should_prune():
            raise PrunedError(
                f"validation accuracy {max(seen.values()):.4f} up to step {step} is below the median of "
                f"{len(curves)} finished runs at that step"
            )

    return log
