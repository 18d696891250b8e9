"""Remove the models of runs that nobody is going to deploy: python -m pipeline.prune."""

import argparse
import sys
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from pipeline.config.objectives import rank
from pipeline.config.schema import KEEP_NONE, KEEP_SHIPPED
from pipeline.console import command_line, third_parties
from pipeline.console.markdown import printable
from pipeline.errors import PipelineError
from pipeline.names import BEST_RUN_ID_TAG, FINISHED, MODEL, PARENT_TAG, RUNNING, SWEEP_TAG
from pipeline.tracking.liveness import is_dead
from pipeline.tracking.lookup import (
    children_of,
    find_experiment,
    find_run,
    find_sweep,
    last_attempts,
    objectives_of,
    search_all,
)
from pipeline.tracking.store import store_errors, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from pipeline.tracking.keeping import Surplus

DESCRIPTION = """\
Remove models from the tracking store. Figures, curves, configs and reports of all runs stay, and so
do the models of each sweep's best run on each corpus, and those that are registered.

  python -m pipeline.prune --sweep latest --dry-run     what the jobs of a sweep would lose
  python -m pipeline.prune --sweep latest               of each job, the shipped model stays
  python -m pipeline.prune --experiment NAME --keep none
  python -m pipeline.prune --keep none RUN_ID ...

A sweep does that by itself (tracking.keep=shipped). Runs are read from MLFLOW_TRACKING_URI, by
default from mlruns/mlflow.db. What was deleted in the MLflow UI is removed by `mlflow gc`.
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.prune",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("runs", metavar="RUN_ID", nargs="*", help="ids of runs that have ended")
    command.add_argument(
        "--sweep", metavar="ID", help="the jobs of a sweep: id or name of its run, or latest"
    )
    command.add_argument(
        "--experiment", metavar="NAME", help="the jobs of all sweeps of an MLflow experiment"
    )
    command.add_argument(
        "--keep",
        choices=(KEEP_SHIPPED, KEEP_NONE),
        default=KEEP_SHIPPED,
        help="what stays of a run's models (default: %(default)s)",
    )
    command.add_argument("--dry-run", action="store_true", help="remove nothing, say what would be")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what was typed after the command's name; None takes the process's.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    third_parties.prepare()
    return command_line.exit_code(lambda: _prune(options))


def _prune(options: argparse.Namespace) -> None:
    if sum(map(bool, (options.runs, options.sweep, options.experiment))) != 1:
        raise PipelineError("give run ids, --sweep ID or --experiment NAME, and one of them alone.")
    from pipeline.tracking.database import open_client
    from pipeline.tracking.keeping import EndedRun, surplus_of

    uri, total_mb, removes = tracking_uri(), 0.0, "would remove" if options.dry_run else "removed"
    with store_errors(uri):
        client = open_client(uri)
        runs = _selected(client, options)
    for run in runs:
        with store_errors(uri):
            surplus = surplus_of(client, EndedRun.of(run), options.keep)
            if surplus is not None and not options.dry_run:
                _discard(surplus, client)
        if surplus is not None and (names := [*surplus.folders, *(MODEL for _ in surplus.models)]):
            total_mb += surplus.size_mb
            line = f"{run.info.run_name}: {removes} {', '.join(names)}"
            print(printable(line))  # noqa: T201
    print(f"{removes} {total_mb:,.0f} MB")  # noqa: T201


def _discard(surplus: "Surplus", client: "MlflowClient") -> None:
    try:
        surplus.discard(client)
    except NotImplementedError as error:  # of MLflow's stores, some cannot delete
        raise PipelineError(
            f"the store of {surplus.run.artifact_uri} cannot delete artifacts; remove them "
            "with its own tools."
        ) from error


def _selected(client: "MlflowClient", options: argparse.Namespace) -> "list[Run]":
    """Find the runs to prune: none of them runs, or is the best of its sweep."""
    if not options.runs:
        return [job for sweep in _sweeps(client, options) for job in _worse(client, sweep)]
    runs = [find_run(client, run_id) for run_id in options.runs]
    for run in runs:
        run_id, parent = run.info.run_id, run.data.tags.get(PARENT_TAG)
        if run.info.status == RUNNING:
            raise PipelineError(f"run {run_id} is still running; prune it when it has ended.")
        if parent is not None and run_id in _best_ids(client, find_run(client, parent)):
            raise PipelineError(
                f"run {run_id} is the best of its sweep, {parent}, and keeps its models; delete it "
                "in the MLflow UI if nobody needs it."
            )
    return runs


def _worse(client: "MlflowClient", sweep: "Run") -> "list[Run]":
    """Return the jobs of a sweep that have ended and are not the best."""
    if sweep.info.status == RUNNING and not is_dead(sweep.data.tags):
        raise PipelineError(
            f"sweep {sweep.info.run_name} ({sweep.info.run_id}) is still running, and keeps what "
            "tracking.keep says; prune it when it has ended."
        )
    best = _best_ids(client, sweep)
    jobs = [job for job in children_of(client, sweep) if job.info.status != RUNNING]
    return [job for job in jobs if job.info.run_id not in best]


def _best_ids(client: "MlflowClient", sweep: "Run") -> set[str]:
    """Return the ids of a sweep's best runs on each corpus, and of the one it names.

    Of a job that was run again, the last attempt counts, as it does for who promotes.
    """
    from pipeline.comparison.corpora import by_corpus

    attempts = last_attempts(children_of(client, sweep))
    finished = [run for run in attempts if run.info.status == FINISHED]
    objectives = objectives_of(sweep)
    leaders = (_leaders(rivals, objectives) for rivals in by_corpus(finished).values())
    return {sweep.data.tags.get(BEST_RUN_ID_TAG, ""), *chain.from_iterable(leaders)}


def _leaders(rivals: "Sequence[Run]", objectives: Sequence[str]) -> list[str]:
    """Return the ids of the best runs; without a figure to tell them by, each may be the best."""
    ranks = {
        run.info.run_id: rank(run.data.metrics, objectives)
        for run in rivals
        if objectives[0] in run.data.metrics
    }
    if not ranks:
        return [run.info.run_id for run in rivals]
    best = max(ranks.values())
    return [run_id for run_id, each in ranks.items() if each == best]


def _sweeps(client: "MlflowClient", options: argparse.Namespace) -> "list[Run]":
    if options.sweep:
        return [find_sweep(client, options.sweep)]
    experiment_id = find_experiment(client, options.experiment)
    return search_all(client, [experiment_id], f"tags.`{SWEEP_TAG}` LIKE '%'")


if __name__ == "__main__":
    sys.exit(main())
