"""Repeat a run from the config that it logged, and tell whether its figures come again."""

from collections.abc import Mapping, Sequence
from math import isclose, nan
from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig, OmegaConf

from pipeline.config.schema import Config, TrackingConfig
from pipeline.errors import FiguresDifferError, PipelineError
from pipeline.names import (
    ACCURACY,
    ACCURACY_DROP,
    CONFIG,
    LOSS,
    SCORED,
    SIZE_MB,
    on_validation,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

TOLERANCE = 1e-6
# Figures that the config decides; times are left to the machine.
COMPARED = (*SCORED, ACCURACY_DROP, SIZE_MB, on_validation(ACCURACY), on_validation(LOSS))
ALLOWED_OVERRIDES = ("rerun=", "tracking=", "tracking.")


def rerun(config: DictConfig, overrides: Sequence[str]) -> None:
    """Repeat a run.

    Args:
        config: Hydra's config, of which rerun and tracking count.
        overrides: overrides as typed.

    Raises:
        PipelineError: there is no such run, another key was given, or its config cannot run any
            more.
        FiguresDifferError: the run was repeated, and figures differ.
    """
    for line in overrides:
        if not line.lstrip("+").startswith(ALLOWED_OVERRIDES):
            raise PipelineError(
                f"{line} cannot be combined with rerun, which takes the run's own config; "
                "tracking.KEY=VALUE does."
            )
    from pipeline.config import hub
    from pipeline.console import third_parties

    third_parties.prepare()
    from pipeline.config.identity import changes
    from pipeline.config.resolve import check_repeatable, read_logged, resolve
    from pipeline.reports.results import show_rerun
    from pipeline.tracking.connection import open_experiment
    from pipeline.tracking.lookup import digests_of

    connection = open_experiment(cast(TrackingConfig, OmegaConf.to_object(config.tracking)))
    first, folder = _finished_run(connection.client, config.rerun)
    check_repeatable(folder)
    here = {"tracking": config.tracking, "sweep": Config().sweep}
    # It trains from the start, and into a folder that is gone when it ends.
    here |= {"trainer": {"output_dir": None, "resume_from_checkpoint": None}}
    resolved = resolve(OmegaConf.merge(read_logged(folder), here))
    hub.use_cache_if_silent(resolved)
    from pipeline.data.corpus import load_corpus

    corpus = load_corpus(resolved.dataset)
    from pipeline.run import run

    second = connection.client.get_run(run(resolved, corpus))
    changed = changes((first.data.tags, digests_of(first)), (second.data.tags, digests_of(second)))
    rows = paired_figures(first.data.metrics, second.data.metrics)
    show_rerun(rows, first.info.run_name)
    differing = [
        name
        for name, (before, now) in rows.items()
        if not isclose(before, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]
    if differing:
        raise FiguresDifferError(
            f"{len(differing)} of {len(rows)} figures differ from run {config.rerun}: "
            f"{', '.join(differing)}."
            + (f" Since then {', '.join(changed)} changed." if changed else "")
        )


def paired_figures(
    first: Mapping[str, float], second: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Pair the figures of a run that its config decides with those of its repetition.

    Args:
        first: metrics of the run by name.
        second: metrics of the repetition; a figure that it lacks is not a number. Figures that the
            run itself lacks, because its version did not log them, are left out.
    """
    names = sorted(name for name in first if name.rpartition("/")[2] in COMPARED)
    return {name: (first[name], second.get(name, nan)) for name in names}


def _finished_run(client: "MlflowClient", run_id: str) -> "tuple[Run, Path]":
    """Read a FINISHED run, and fetch its artifact `config`."""
    from pipeline.names import FINISHED
    from pipeline.tracking.fetch import fetch
    from pipeline.tracking.lookup import find_run
    from pipeline.tracking.store import store_errors

    with store_errors():
        run = find_run(client, run_id)
        if run.info.status != FINISHED:
            raise PipelineError(
                f"run {run_id} is {run.info.status}; only a FINISHED run has figures to compare."
            )
        return run, fetch(client, run, CONFIG)
