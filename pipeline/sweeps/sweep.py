"""Run a sweep with Hydra's launchers: skip what has ended before, launch the rest, conclude."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from pipeline.config.objectives import check_objectives
from pipeline.console import interrupt
from pipeline.errors import JobsFailedError, PipelineError, reason_line
from pipeline.names import (
    COMPARISON_PAGE,
    COMPARISON_TABLE,
    FAILED,
    FINISHED,
    KILLED,
    PRUNED,
    RUNNING,
)
from pipeline.sweeps.children import SETTLED, ChildRun
from pipeline.sweeps.dependencies import Dependencies
from pipeline.sweeps.jobs import SKIPPED, Job, LaunchErrors, Outcome, outcome_of
from pipeline.sweeps.parent_run import ParentRun, open_parent_run
from pipeline.sweeps.plan import Plan, plan_of
from pipeline.sweeps.progress import Progress
from pipeline.sweeps.standings import Standings
from pipeline.tracking.patience import PATIENCE_SECONDS

# Launches of a job that was lost with its launcher, which another job's process may have broken.
ATTEMPTS = 2


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
        launcher: Hydra's launcher.
        jobs: all jobs, or those that represent the jobs of a search.
        space: values by swept key, as typed.
        count: number of jobs that there will be.

    Yields:
        The open sweep, which runs jobs.

    Raises:
        PipelineError: nothing can be started.
        JobsFailedError: some jobs failed, unless sweep.allow_failures is true.
    """
    first = jobs[0].config
    check_objectives(first.objective, [job.config for job in jobs])
    plan = plan_of(config, first, space)
    progress = Progress(count, first.objective)
    try:
        with open_parent_run(plan, first.tracking, fresh=first.sweep.fresh) as parent:
            sweep = Sweep(parent, launcher, plan, progress)
            progress.say(f"sweep {plan.name} ({parent.run_id}): {count} jobs")
            yield sweep
            progress.close()
            sweep.conclude()
            if sweep.failed and not first.sweep.allow_failures:
                raise JobsFailedError(_failures_line(sweep.failed, count))
    finally:
        progress.close()


def _failures_line(failed: Sequence[Outcome], count: int) -> str:
    first = failed[0]
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return (
        f"{len(failed)} of {count} jobs failed: {first.name}: {first.reason.rstrip('.')}{more}; "
        "the same command line runs them again."
    )


class Sweep:
    """Launch jobs under the run of a sweep.

    Args:
        parent: open run of the sweep.
        launcher: Hydra's launcher.
        plan: plan of the sweep.
        progress: bar and lines at the terminal.
    """

    def __init__(
        self, parent: ParentRun, launcher: Launcher, plan: Plan, progress: Progress
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.run_id = parent.run_id
        self._progress = progress
        self._parent = parent
        self._launcher = launcher
        self._plan = plan
        self._dependencies = Dependencies()
        self._launched = 0
        self._skipped = 0
        self._never_started = 0
        self._children = parent.children
        self._standings = Standings(plan.objectives)
        # Without runs of an earlier start that has not settled a job: something has changed since.
        self._rivals = Standings(plan.objectives)
        self._worse: list[ChildRun] = []  # runs whose models need not stay
        self._logged: tuple[dict[str, int], ChildRun | None] | None = None  # counts and best run
        self._standings.add(self._children.read())
        self._earlier = self._children.seen

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes of jobs that failed."""
        return [outcome for outcome in self.outcomes if outcome.status == FAILED]

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run jobs and wait for all of them; skip those that were FINISHED or pruned before.

        A job that fails leaves the others to run. If the launcher itself breaks down, as joblib's
        does when a job's process is killed, the jobs that are lost with it are launched again.

        Args:
            jobs: jobs to run.

        Returns:
            The outcome of each job, in the order of jobs.
        """
        settled = self._settled_before(jobs)
        self._compare(outcome.child for outcome in settled.values() if outcome.child)
        self.skip(len(settled))
        pending = list({job.key: job for job in jobs if job.key not in settled}.values())
        attempts: Counter[str] = Counter()
        while pending:
            attempts.update(job.key for job in pending)
            outcomes, lost = self._launch_and_follow(pending)
            settled |= {outcome.job.key: outcome for outcome in outcomes}
            pending = [job for job in lost if attempts[job.key] < ATTEMPTS]
        self.outcomes += settled.values()
        self._never_started += sum(outcome.child is None for outcome in settled.values())
        self._log_progress()
        return [settled[job.key] for job in jobs]

    def skip(self, jobs: int) -> None:
        """Count jobs that ended in an earlier start of the sweep.

        Args:
            jobs: number of those jobs.
        """
        self._skipped += jobs
        self._progress.skip(jobs, self._standings.best)

    def is_over(self, sweep_id: str) -> bool:
        """Tell whether nobody is at work on the trials of a sweep but this start of this one.

        Args:
            sweep_id: id of the sweep's run.
        """
        return sweep_id == self.run_id or self._parent.has_ended(sweep_id)

    def check_unchanged(self, corners: Sequence[Job]) -> None:
        """Refuse to go on beside runs that depended on something else.

        What the swept keys themselves change, such as the texts under dataset.max_train_samples,
        may be different in each run.

        Args:
            corners: jobs with each end, and each choice, of each swept key.

        Raises:
            PipelineError: the data, the model, the teacher or the code has changed since.
        """
        finished = [child for child in self._children if child.status == FINISHED]
        if not finished:
            return
        now, *others = (self._dependencies.of(job) for job in corners)
        swept = {name for each in others for name in now.changed_since(each.tags, each.digests)}
        for child in finished:
            changed = now.changed_since(child.tags, child.digests)
            if changed := [name for name in changed if name not in swept]:
                raise PipelineError(
                    "the earlier trials of this search are no rivals of further ones, because of "
                    f"changes: {', '.join(changed)}; sweep.fresh=true searches anew."
                )

    def conclude(self) -> None:
        """Show the comparison of the sweep's runs, and store it with the sweep's run."""
        from pipeline.comparison.corpora import compare, table_of
        from pipeline.console.csv_tables import write_csv
        from pipeline.reports.comparison_page import write_page
        from pipeline.reports.comparison_table import show_comparisons

        for outcome in self.failed:
            self._progress.say(f"FAILED: {outcome.name}: {outcome.reason}")
        runs = self._parent.mlflow_runs()
        if not runs:
            return
        comparisons = compare(runs, self._plan.objectives)
        show_comparisons(comparisons, self._plan.name)
        with tempfile.TemporaryDirectory() as scratch:
            page, table = Path(scratch) / COMPARISON_PAGE, Path(scratch) / COMPARISON_TABLE
            write_page(comparisons, self._plan.name, self._parent.ui, page)
            write_csv(table_of(comparisons), table)
            self._parent.log_files(Path(scratch))
        self._progress.say(f"next: {self._parent.compare}, or {self._parent.next_step}")

    def _settled_before(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """Return the outcomes of jobs that need not run, by the job's key.

        An earlier run of the same config settles a job if it is FINISHED or was pruned, and nothing
        else that its figures depend on has changed.
        """
        settled, changes = {}, Counter[str]()
        for job in jobs:
            run = self._children.settled(job.key)
            if run is None:
                continue
            if changed := self._dependencies.of(job).changed_since(run.tags, run.digests):
                changes[", ".join(changed)] += 1
                continue
            status = SKIPPED if run.status == FINISHED else run.status
            settled[job.key] = Outcome(job, status, run, run.reason)
        for parts, count in changes.items():
            self._progress.say(f"{count} finished jobs run again, because of changes: {parts}")
        return settled

    def _launch_and_follow(self, jobs: Sequence[Job]) -> tuple[list[Outcome], list[Job]]:
        """Launch jobs, and report them while they run.

        Returns:
            The outcome of each job, and the jobs that failed because the launcher broke down.
        """
        earlier = self._children.seen
        with self._progress.watching(partial(self._ended_after, earlier), self._after_read):
            errors = self._launch(jobs)
        interrupt.check()
        self._look_for_lost(jobs, earlier)
        outcomes = [outcome_of(job, self._run_after(earlier, job), errors) for job in jobs]
        broke_down = errors.launcher is not None
        lost = [outcome.job for outcome in outcomes if broke_down and outcome.status == FAILED]
        return outcomes, lost

    def _ended_after(self, earlier: int, patience_s: float) -> list[ChildRun]:
        """Read what has changed; return the runs that have ended, without the earlier ones."""
        changed = self._children.read(patience_s)
        self._take_in(changed)
        return [
            child
            for child in changed
            if child.status != RUNNING and self._children.number(child) >= earlier
        ]

    def _after_read(self, ended: bool) -> None:
        if ended:
            self._log_progress(patience_s=0.0)
        self._parent.renew_heartbeat()

    def _run_after(self, earlier: int, job: Job) -> ChildRun | None:
        """Return the run that a job has left; None if it has none but earlier ones."""
        run = self._children.latest(job.key)
        return run if run is not None and self._children.number(run) >= earlier else None

    def _look_for_lost(self, jobs: Sequence[Job], earlier: int) -> None:
        """Look closer at jobs that seem not to have ended well, and mark the dead among them."""

        def unsettled() -> list[str]:
            runs = {job.key: self._run_after(earlier, job) for job in jobs}
            return [key for key, run in runs.items() if run is None or run.status not in SETTLED]

        if unsettled() or self._children.running:
            self._parent.mark_dead()
            self._take_in(self._children.read())
            self._take_in(self._children.read_jobs(unsettled()))

    def _take_in(self, changed: Sequence[ChildRun]) -> None:
        self._standings.add(changed)
        self._compare(child for child in changed if self._is_of_this_start(child))

    def _compare(self, rivals: Iterable[ChildRun]) -> None:
        """Compare runs whose figures are rivals, and note which models need not stay."""
        self._worse += [each for each in self._rivals.add(rivals) if self._is_of_this_start(each)]

    def _is_of_this_start(self, child: ChildRun) -> bool:
        return self._children.number(child) >= self._earlier

    def _launch(self, jobs: Sequence[Job]) -> LaunchErrors:
        lines = [self._overrides(job) for job in jobs]
        first_number = self._launched
        self._launched += len(lines)
        try:
            job_returns = self._launcher.launch(lines, first_number)
        except Exception as error:
            return LaunchErrors({}, launcher=reason_line(error))
        return LaunchErrors(
            {
                job.key: reason_line(job_return._return_value)
                for job, job_return in zip(jobs, job_returns, strict=True)
                if job_return.status == JobStatus.FAILED
            }
        )

    def _overrides(self, job: Job) -> list[str]:
        """Return a job's overrides with what the sweep sets for it.

        The store's address is among them: MLFLOW_TRACKING_URI is set where the sweep was started,
        and the job may run elsewhere.
        """
        return [
            *job.overrides,
            f"sweep.parent_run_id={self.run_id}",
            f"sweep.directory={_quoted(str(Path.cwd()))}",
            f"sweep.swept=[{','.join(self._plan.space)}]",
            f"tracking.tracking_uri={_quoted(job.config.tracking.tracking_uri)}",
        ]

    def _log_progress(self, patience_s: float = PATIENCE_SECONDS) -> None:
        """Log counts and the best run, and remove models as tracking.keep says."""
        news = (self._counts(), self._standings.best)
        if news != self._logged:
            self._parent.log_progress(*news, self._plan.objectives, patience_s)
            self._logged = news
        worse, self._worse = self._worse, []
        if line := self._parent.discard_models(worse):
            self._progress.say(line)

    def _counts(self) -> dict[str, int]:
        """Count the jobs of the whole sweep, earlier starts included, by how they ended."""
        statuses = self._children.statuses
        return {
            "done": statuses[FINISHED],
            "failed": statuses[FAILED] + statuses[KILLED] + self._never_started,
            "pruned": statuses[PRUNED],
            "skipped": self._skipped,
        }


def _quoted(value: str) -> str:
    """Quote a value for Hydra's override grammar."""
    return QuotedString(value, Quote.single).with_quotes()
