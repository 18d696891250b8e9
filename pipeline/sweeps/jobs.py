"""Compose the jobs of a sweep, and tell how each of them ended and which is the best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from omegaconf import DictConfig, open_dict

from pipeline.config.identity import config_hash
from pipeline.config.objectives import rank
from pipeline.config.resolve import resolve
from pipeline.config.schema import Config
from pipeline.names import FAILED, FINISHED, PRUNED
from pipeline.sweeps.parent_run import ChildRun

SKIPPED = "SKIPPED"

Compose = Callable[[Sequence[str]], DictConfig]
"""Turns a job's overrides into Hydra's config."""


@dataclass(frozen=True)
class Job:
    """One configuration of a sweep.

    Args:
        overrides: overrides of the job, as Hydra's sweeper made them.
        config: resolved config of the job.
    """

    overrides: tuple[str, ...]
    config: Config

    @property
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
        compose: function that turns a job's overrides into Hydra's config.
        overrides: overrides of each job.

    Returns:
        The jobs; of those whose configs give the same figures, the first.

    Raises:
        PipelineError: one of them cannot run.
    """
    jobs: dict[str, Job] = {}
    for line in overrides:
        config = compose(line)
        with open_dict(config):
            config.pop("hydra", None)
        job = Job(tuple(line), resolve(config))
        jobs.setdefault(job.key, job)
    return list(jobs.values())


def best_of(children: Sequence[ChildRun], objectives: Sequence[str]) -> ChildRun | None:
    """Return the finished run that is best by the first objective; the next ones decide ties.

    Of a job that was run again, as after a change of its data, the newest run counts.

    Args:
        children: runs of jobs, the oldest first.
        objectives: names of figures, the most important first.

    Returns:
        The best run; None if no run is FINISHED with the first objective.
    """
    newest = {child.config_hash: child for child in children if child.status == FINISHED}
    finished = [child for child in newest.values() if objectives[0] in child.metrics]
    return max(finished, key=lambda child: rank(child.metrics, objectives), default=None)


def worse_than_best(children: Sequence[ChildRun], objectives: Sequence[str]) -> list[ChildRun]:
    """Return the finished runs that are not the best, nor as good.

    Args:
        children: runs of jobs whose figures are rivals.
        objectives: names of figures, the most important first.
    """
    best = best_of(children, objectives)
    if best is None:
        return []
    highest = rank(best.metrics, objectives)
    return [
        child
        for child in children
        if child.status == FINISHED and rank(child.metrics, objectives) != highest
    ]


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
