"""Compose the jobs of a sweep, and tell how each of them ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from omegaconf import DictConfig

from pipeline.config.identity import config_hash
from pipeline.config.resolve import resolve
from pipeline.config.schema import Config
from pipeline.names import FAILED, FINISHED, PRUNED
from pipeline.sweeps.children import ChildRun

SKIPPED = "SKIPPED"

Compose = Callable[[Sequence[str]], DictConfig]
"""Turns a job's overrides into its config, without Hydra's own node."""


@dataclass(frozen=True)
class Job:
    """One configuration of a sweep.

    Args:
        overrides: overrides of the job, as Hydra's sweeper made them.
        config: resolved config of the job.
    """

    overrides: tuple[str, ...]
    config: Config

    @cached_property
    def key(self) -> str:
        """Hash that is equal for jobs whose configs give the same figures."""
        return config_hash(self.config)


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Args:
        job: the job.
        status: FINISHED, FAILED, PRUNED, or SKIPPED for a job that was FINISHED before.
        child: run of the job; None if the job failed before it had one.
        reason: why the job did not finish; empty if it did.
    """

    job: Job
    status: str
    child: ChildRun | None
    reason: str = ""

    @property
    def name(self) -> str:
        """Name of the job's run, or the job's overrides if it has no run."""
        return self.child.name if self.child else " ".join(self.job.overrides)


@dataclass(frozen=True)
class LaunchErrors:
    """What a launcher raised.

    Args:
        by_job: reason of each job that raised, by the job's key.
        launcher: reason why the launcher itself broke down, so that jobs may not have started; None
            if it did not.
    """

    by_job: Mapping[str, str]
    launcher: str | None = None


def jobs_of(compose: Compose, overrides: Sequence[Sequence[str]]) -> list[Job]:
    """Compose and check every job, before the first of them starts.

    Args:
        compose: function that turns a job's overrides into its config.
        overrides: overrides of each job.

    Returns:
        The jobs; of those whose configs give the same figures, the first.

    Raises:
        PipelineError: one of them cannot run.
    """
    jobs: dict[str, Job] = {}
    for line in overrides:
        job = Job(tuple(line), resolve(compose(line)))
        jobs.setdefault(job.key, job)
    return list(jobs.values())


def outcome_of(job: Job, child: ChildRun | None, errors: LaunchErrors) -> Outcome:
    """Tell how a launched job ended.

    Args:
        job: the job.
        child: run that the job left in the store; None if there is none.
        errors: what the launcher raised.
    """
    error = errors.by_job.get(job.key)
    if child is None:
        reason = error or errors.launcher or "it was never started"
        return Outcome(job, FAILED, None, reason)
    if child.status in (FINISHED, PRUNED):
        return Outcome(job, child.status, child, child.reason)
    return Outcome(job, FAILED, child, child.reason or error or f"its run is {child.status}")
