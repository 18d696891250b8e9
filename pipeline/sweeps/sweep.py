"""A sweep around Hydra's launchers: what is skipped, what is launched, what came of it."""

import contextlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline.config.identity import config_hash, experiment_of, major_version
from pipeline.config.objectives import check_objectives, gain
from pipeline.config.resolve import resolve
from pipeline.config.schema import Config, DatasetConfig
from pipeline.console import interrupt
from pipeline.errors import JobsFailedError, reason_line
from pipeline.sweeps.parent_run import Child, Parent, Plan, open_parent
from pipeline.sweeps.progress import Progress

Compose = Callable[[Sequence[str]], DictConfig]
ATTEMPTS = 2  # of a job whose process was killed: it may have been a neighbour's fault
CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}


@dataclass(frozen=True)
class Job:
    """One configuration of a sweep.

    Args:
        overrides: as Hydra's sweeper made them.
        config: what they resolve to.
    """

    overrides: tuple[str, ...]
    config: Config

    @property
    def key(self) -> str:
        """Equal for jobs that are the same experiment."""
        return config_hash(self.config)


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Args:
        job: the job.
        status: FINISHED, FAILED, PRUNED, or SKIPPED, which is a job that was FINISHED before.
        child: its run; None if it failed before it had one.
        reason: why it did not finish.
    """

    job: Job
    status: str
    child: Child | None
    reason: str = ""


def jobs_of(compose: Compose, overrides: Sequence[Sequence[str]]) -> list[Job]:
    """Compose and check every job, before the first of them starts.

    Args:
        compose: a job's overrides to Hydra's config.
        overrides: of each job.

    Returns:
        The jobs; of those that are the same experiment, the first.

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


@contextlib.contextmanager
def open_sweep(
    config: DictConfig,
    launcher: Launcher,
    jobs: Sequence[Job],
    space: Mapping[str, str],
    count: int,
) -> Iterator["Sweep"]:
    """Open a sweep's run, let the block run its jobs, and end with the comparison and the summary.

    Args:
        config: Hydra's config of the multirun.
        launcher: Hydra's.
        jobs: all of them, or of a search those that stand for it.
        space: the swept keys and what they take.
        count: how many jobs there will be.

    Yields:
        What runs jobs.

    Raises:
        PipelineError: nothing can be started.
        JobsFailedError: some jobs failed, unless sweep.allow_failures is true.
    """
    first = jobs[0].config
    check_objectives(first.objective, [job.config for job in jobs])
    plan = _plan(config, first, space)
    progress = Progress(count, first.objective)
    try:
        with open_parent(plan, first.tracking, fresh=first.sweep.fresh) as parent:
            sweep = Sweep(parent, launcher, plan, progress)
            progress.say(f"sweep {plan.name} ({parent.run_id}): {count} jobs")
            yield sweep
            progress.close()
            sweep.conclude()
            if sweep.failed and not first.sweep.allow_failures:
                raise JobsFailedError(_failures(sweep, count))
    finally:
        progress.close()


def _plan(config: DictConfig, first: Config, space: Mapping[str, str]) -> Plan:
    base = OmegaConf.to_container(config)
    if not isinstance(base, dict):
        raise TypeError("Hydra's config is not a mapping")
    swept = set(space)
    kept = {key: value for key, value in base.items() if key in experiment_of(first)}
    identity = {
        "config": kept,
        "space": space,
        "objective": first.objective,
        "sweeper": config.hydra.sweeper["_target_"],
        "overrides": [
            line
            for line in base["hydra"]["overrides"]["task"]
            if not line.startswith(("sweep.", "tracking"))
        ],
    }
    name = (
        first.sweep.name
        or "×".join(key.removeprefix("trainer.") for key in sorted(swept))
        or "one job"
    )
    model = Path(first.model.name_or_path).name if "model" not in swept else "models"
    return Plan(
        name=f"sweep·{model}·{first.dataset.name if 'dataset' not in swept else 'datasets'}·{name}",
        command=f"python -m pipeline {' '.join(sys.argv[1:])}",
        space=space,
        objectives=first.objective,
        identity=json.dumps(identity, sort_keys=True, default=str),
    )


def _failures(sweep: "Sweep", count: int) -> str:
    first = sweep.failed[0]
    name = first.child.name if first.child else " ".join(first.job.overrides)
    more = f", and {len(sweep.failed) - 1} more" if len(sweep.failed) > 1 else ""
    return (
        f"{len(sweep.failed)} of {count} jobs failed: {name}: {first.reason.rstrip('.')}{more}; "
        "the same command line runs them again."
    )


class Sweep:
    """Launches jobs under one parent run.

    Args:
        parent: the sweep's run.
        launcher: Hydra's.
        plan: of the sweep.
        progress: told of every job that ends.
    """

    def __init__(self, parent: Parent, launcher: Launcher, plan: Plan, progress: Progress) -> None:
        self.outcomes: list[Outcome] = []
        self.run_id = parent.run_id
        self.progress = progress
        self._parent = parent
        self._launcher = launcher
        self._plan = plan
        self._digests: dict[str, dict[str, str]] = {}
        self._launched = 0
        self._skipped = 0

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run jobs, but for those that are FINISHED or were pruned already, and wait for all of them.

        A job that fails leaves the others to run. A job whose process was killed is launched a second time.

        Returns:
            What came of each job, in their order.
        """
        before = {
            child.config_hash: child for child in self._parent.children() if self._is_twin(child)
        }
        settled: dict[str, Outcome] = {}
        for job in jobs:
            twin = before.get(job.key)
            if twin is not None and twin.digests == self._data_digests(job.config.dataset):
                settled[job.key] = Outcome(
                    job, "SKIPPED" if twin.status == "FINISHED" else twin.status, twin, twin.reason
                )
        pending = list({job.key: job for job in jobs if job.key not in settled}.values())
        self.skip(len(settled))
        attempts: Counter[str] = Counter()
        while pending:
            attempts.update(job.key for job in pending)
            known = {child.run_id for child in self._parent.children()}
            with self.progress.watching(self._parent, known, self._log_progress):
                reasons = self._launch_all(pending)
            interrupt.check()
            self._parent.mark_dead()
            latest = {
                child.config_hash: child
                for child in self._parent.children()
                if child.run_id not in known
            }
            for job in pending:
                settled[job.key] = _outcome(job, latest.get(job.key), reasons)
            pending = [
                job
                for job in pending
                if _lost(settled[job.key], reasons) and attempts[job.key] < ATTEMPTS
            ]
        self.outcomes += settled.values()
        self._log_progress()
        return [settled[job.key] for job in jobs]

    def _log_progress(self) -> None:
        children = self._parent.children()
        best = best_of(children, self._plan.objectives)
        self._parent.log_progress(self._counts(children), best, self._plan.objectives)

    def skip(self, jobs: int) -> None:
        """Count jobs that ended in an earlier start of the sweep."""
        self._skipped += jobs
        self.progress.skip(jobs, best_of(self._parent.children(), self._plan.objectives))

    def conclude(self) -> None:
        """Show what the sweep found, and store the comparison with its run."""
        from pipeline.comparison.comparison import Comparison
        from pipeline.reports.comparison_page import write_page
        from pipeline.reports.comparison_table import show

        for outcome in self.failed:
            name = outcome.child.name if outcome.child else " ".join(outcome.job.overrides)
            self.progress.say(f"FAILED: {name}: {outcome.reason}")
        runs = self._parent.child_runs()
        if not runs:
            return
        comparison = Comparison.of(runs, self._plan.objectives)
        show(comparison, self._plan.name)
        with tempfile.TemporaryDirectory() as scratch:
            write_page(
                comparison, self._plan.name, self._parent.ui, Path(scratch) / "comparison.html"
            )
            comparison.table().to_csv(Path(scratch) / "comparison.csv", index=False)
            self._parent.log_files(Path(scratch))
        self.progress.say(
            f"next: python -m pipeline.compare --sweep {self.run_id} --format html, or {self._parent.next_step}"
        )

    def _counts(self, children: Sequence[Child]) -> dict[str, int]:
        """Jobs of the whole sweep by what came of them, earlier starts of it included, by the names in MLflow."""
        latest = {child.config_hash: child.status for child in children}
        found = Counter(latest.values())
        unborn = sum(outcome.child is None for outcome in self.failed)
        return {
            "done": found["FINISHED"],
            "failed": found["FAILED"] + found["KILLED"] + unborn,
            "pruned": found["PRUNED"],
            "skipped": self._skipped,
        }

    @property
    def failed(self) -> list[Outcome]:
        """The jobs that failed."""
        return [outcome for outcome in self.outcomes if outcome.status == "FAILED"]

    def _is_twin(self, child: Child) -> bool:
        return child.status in ("FINISHED", "PRUNED") and child.major_version == major_version()

    def _data_digests(self, config: DatasetConfig) -> dict[str, str]:
        from pipeline.data.corpus import load_corpus

        name = repr(asdict(config))
        if name not in self._digests:
            corpus = load_corpus(config)
            self._digests[name] = {CONTEXTS[split]: corpus.digest(split) for split in corpus.splits}
        return self._digests[name]

    def _launch_all(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Launch jobs; return the reasons of those that raised, by key, and under "" that of a launcher that broke down."""
        common = [
            f"sweep.parent_run_id={self.run_id}",
            f"sweep.directory={_quoted(str(Path.cwd()))}",
            f"sweep.swept=[{','.join(self._plan.space)}]",
        ]
        lines = []
        for job in jobs:
            # The environment's MLFLOW_TRACKING_URI is the launcher's own; a job elsewhere is told the address.
            uri = f"tracking.tracking_uri={_quoted(job.config.tracking.tracking_uri)}"
            lines.append([*job.overrides, *common, uri])
        first = self._launched
        self._launched += len(lines)
        try:
            returned = self._launcher.launch(lines, first)
        except Exception as error:
            return {"": reason_line(error)}
        return {
            job.key: reason_line(job_return._return_value)
            for job, job_return in zip(jobs, returned, strict=True)
            if job_return.status == JobStatus.FAILED
        }


def best_of(children: Sequence[Child], objectives: Sequence[str]) -> Child | None:
    """Return the finished run that is best by the first objective, the next ones deciding ties; None without any."""
    finished = [
        child for child in children if child.status == "FINISHED" and objectives[0] in child.metrics
    ]

    def rank(child: Child) -> tuple[float, ...]:
        worst = float("-inf")
        return tuple(
            gain(name, child.metrics[name]) if name in child.metrics else worst
            for name in objectives
        )

    return max(finished, key=rank, default=None)


def _outcome(job: Job, child: Child | None, reasons: Mapping[str, str]) -> Outcome:
    if child is None:
        return Outcome(
            job, "FAILED", None, reasons.get(job.key) or reasons.get("") or "it was never started"
        )
    if child.status in ("FINISHED", "PRUNED"):
        return Outcome(job, child.status, child, child.reason)
    return Outcome(
        job, "FAILED", child, child.reason or reasons.get(job.key) or f"its run is {child.status}"
    )


def _lost(outcome: Outcome, reasons: Mapping[str, str]) -> bool:
    """Whether a job never had its chance because the launcher broke down."""
    return "" in reasons and outcome.status == "FAILED" and outcome.job.key not in reasons


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
