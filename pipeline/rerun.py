"""Repeat a run from the config that it logged, and tell whether its figures come again."""

from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from pipeline.config.objectives import SCORED
from pipeline.config.schema import Config, TrackingConfig
from pipeline.errors import FiguresDifferError, PipelineError

TOLERANCE = 1e-6
COMPARED = (*SCORED, "accuracy_drop", "size_mb", "validation_accuracy", "validation_loss")


def rerun(config: DictConfig, overrides: Sequence[str]) -> None:
    """Repeat a run.

    Args:
        config: Hydra's, of which rerun and tracking count.
        overrides: as typed.

    Raises:
        PipelineError: there is no such run, another key was given, or its config cannot run any more.
        FiguresDifferError: the run was repeated, and figures differ.
    """
    for line in overrides:
        if not line.lstrip("+").startswith(("rerun=", "tracking=", "tracking.")):
            raise PipelineError(
                f"{line} does not go with rerun, which takes the run's own config; tracking.KEY=VALUE does."
            )
    from pipeline.config import hub
    from pipeline.console import quiet

    quiet.third_parties()
    import mlflow
    from mlflow.tracking import MlflowClient

    from pipeline.config.resolve import read_logged, resolve
    from pipeline.reports.results import show_rerun
    from pipeline.run import run
    from pipeline.tracking.connection import open_experiment
    from pipeline.tracking.store import find_run, store_errors

    tracking = cast(TrackingConfig, OmegaConf.to_object(config.tracking))
    open_experiment(tracking)
    client = MlflowClient()
    with store_errors():
        first = find_run(client, config.rerun)
        if first.info.status != "FINISHED":
            raise PipelineError(
                f"run {config.rerun} is {first.info.status}; only a FINISHED run has figures to compare."
            )
        folder = mlflow.artifacts.download_artifacts(f"runs:/{config.rerun}/config")
    here = {"tracking": config.tracking, "sweep": Config().sweep}
    resolved = resolve(OmegaConf.merge(read_logged(Path(folder)), here))
    hub.use_cache_if_silent(resolved)
    second = client.get_run(run(resolved))
    rows = compared(first.data.metrics, second.data.metrics)
    show_rerun(rows, first.info.run_name)
    differing = [
        name
        for name, (before, now) in rows.items()
        if not isclose(before, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]
    if differing:
        raise FiguresDifferError(
            f"{len(differing)} of {len(rows)} figures differ from run {config.rerun}: {', '.join(differing)}."
        )


def compared(
    first: Mapping[str, float], second: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Pair the figures of two runs that the config decides; times are left to the machine.

    Args:
        first: metrics by name.
        second: the same; a figure that is in one of them only is not a number in the other.
    """
    names = sorted(
        name for name in first.keys() | second.keys() if name.rpartition("/")[2] in COMPARED
    )
    missing = float("nan")
    return {name: (first.get(name, missing), second.get(name, missing)) for name in names}
