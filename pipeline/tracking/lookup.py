"""Read runs, sweeps and their jobs from the tracking store."""

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import PipelineError, nearest, redacted
from pipeline.names import (
    CONFIG_HASH_TAG,
    CONTEXT_TAG,
    DEFAULT_OBJECTIVE,
    FAILURE_TAG,
    FINISHED,
    KEPT_TAG,
    MLFLOW_CONTEXTS,
    OBJECTIVE_PARAM,
    PARENT_TAG,
    PRUNED,
    PRUNED_TAG,
    RUNNING,
    SHIPPED_TAG,
    SWEEP_TAG,
)
from pipeline.tracking.liveness import is_dead
from pipeline.tracking.store import NOT_FOUND

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList
    from mlflow.tracking import MlflowClient

Item = TypeVar("Item")
NEWEST_FIRST = ("attributes.start_time DESC",)
OLDEST_FIRST = ("attributes.start_time ASC",)
PAGE = 250  # runs; MLflow's SQL stores (3.17) have hundreds of objects for each run of a page
LISTED_SWEEPS = 3  # sweeps that an error names


def find_run(client: "MlflowClient", run_id: str) -> "Run":
    """Read a run.

    Args:
        client: MLflow client of the tracking store.
        run_id: 32 hex digits.

    Raises:
        PipelineError: there is no such run.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != NOT_FOUND:
            raise
        raise PipelineError(f"run {run_id} is not in {redacted(client.tracking_uri)}.") from error


def search_all(
    client: "MlflowClient",
    experiment_ids: Sequence[str],
    filter_string: str,
    order_by: Sequence[str] = (),
) -> "list[Run]":
    """Read every run that a filter matches, page by page.

    Args:
        client: MLflow client of the tracking store.
        experiment_ids: experiments to search.
        filter_string: filter in MLflow's syntax; empty matches all runs.
        order_by: order in MLflow's syntax.
    """
    return list(search_each(client, experiment_ids, filter_string, order_by))


def search_each(
    client: "MlflowClient",
    experiment_ids: Sequence[str],
    filter_string: str,
    order_by: Sequence[str] = (),
) -> "Iterator[Run]":
    """Read the runs that a filter matches one after another: a page of them is in memory at a time.

    Args:
        client: MLflow client of the tracking store.
        experiment_ids: experiments to search.
        filter_string: filter in MLflow's syntax; empty matches all runs.
        order_by: order in MLflow's syntax.
    """
    return each_page(
        lambda token: client.search_runs(
            list(experiment_ids),
            filter_string,
            max_results=PAGE,
            order_by=list(order_by),
            page_token=token,
        )
    )


def each_page(search: "Callable[[str | None], PagedList[Item]]") -> Iterator[Item]:
    """Read the items of all pages of a search, one page after another.

    Args:
        search: returns the page of a token; None is the token of the first page.
    """
    token = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return


def every_page(search: "Callable[[str | None], PagedList[Item]]") -> list[Item]:
    """Read all pages of a search; MLflow returns the first 100 or 1,000 items otherwise.

    Args:
        search: returns the page of a token; None is the token of the first page.
    """
    return list(each_page(search))


def of_parent(run_id: str) -> str:
    """Return the filter that matches the runs of a sweep's jobs, in MLflow's syntax.

    Args:
        run_id: id of the sweep's run.
    """
    return f"tags.`{PARENT_TAG}` = '{run_id}'"


def children_of(client: "MlflowClient", parent: "Run", filter_string: str = "") -> "list[Run]":
    """Read the runs of a sweep's jobs, the oldest first.

    Args:
        client: MLflow client of the tracking store.
        parent: run of the sweep.
        filter_string: further filter in MLflow's syntax.
    """
    both = " and ".join(filter(None, (of_parent(parent.info.run_id), filter_string)))
    return search_all(client, [parent.info.experiment_id], both, OLDEST_FIRST)


def last_attempts(runs: "Sequence[Run]") -> "list[Run]":
    """Keep one run of each job of a sweep: the newest that is FINISHED, or else the newest.

    Other runs of the job were made before it was run again: they failed, or its data, its model or
    the code has changed since, so that their figures are no rivals of the other jobs' figures.

    Args:
        runs: runs, of which those outside of sweeps are all kept.
    """

    def job(run: "Run") -> tuple[str | None, str | None]:
        return run.data.tags.get(PARENT_TAG), run.data.tags.get(CONFIG_HASH_TAG)

    def order(run: "Run") -> tuple[bool, int]:
        return run.info.status == FINISHED, run.info.start_time

    last = {job(run): run.info.run_id for run in sorted(runs, key=order)}
    return [run for run in runs if None in job(run) or last[job(run)] == run.info.run_id]


def find_experiment(client: "MlflowClient", name: str) -> str:
    """Return the id of an experiment.

    Args:
        client: MLflow client of the tracking store.
        name: name of the experiment.

    Raises:
        PipelineError: there is no such experiment.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        existing = every_page(lambda token: client.search_experiments(page_token=token))
        names = [each.name for each in existing]
        raise PipelineError(f"--experiment {name} is unknown; {nearest(name, names)}")
    return str(experiment.experiment_id)


def find_sweep(client: "MlflowClient", reference: str) -> "Run":
    """Read the run of a sweep.

    Args:
        client: MLflow client of the tracking store.
        reference: id or name of the run, or "latest": the one that runs, or ran last. A sweep that
            went on under the same command line has the run that it began with.

    Raises:
        PipelineError: there is no such sweep.
    """
    found = search_all(client, _experiment_ids(client), f"tags.`{SWEEP_TAG}` LIKE '%'")
    sweeps = sorted(found, key=_last_active, reverse=True)
    if not sweeps:
        raise PipelineError("there is no sweep yet; python -m pipeline -m KEY=A,B makes one.")
    if reference == "latest":
        return sweeps[0]
    for sweep in sweeps:
        if reference in (sweep.info.run_id, sweep.info.run_name):
            return sweep
    newest = ", ".join(
        f"{sweep.info.run_id} ({sweep.info.run_name})" for sweep in sweeps[:LISTED_SWEEPS]
    )
    raise PipelineError(f"--sweep {reference} is not a sweep; the newest are: {newest}.")


def objectives_of(parent: "Run") -> list[str]:
    """Return what a sweep optimized, the most important figure first.

    Args:
        parent: run of the sweep.
    """
    return str(parent.data.params.get(OBJECTIVE_PARAM, DEFAULT_OBJECTIVE)).split(", ")


def newest_shipped(client: "MlflowClient") -> str:
    """Return the id of the newest finished run that shipped a model and has all of its models.

    Args:
        client: MLflow client of the tracking store.

    Raises:
        PipelineError: there is none.
    """
    shipped = f"tags.{SHIPPED_TAG} LIKE '%' and attributes.status = '{FINISHED}'"
    run = None
    for run in search_each(client, _experiment_ids(client), shipped, NEWEST_FIRST):
        if KEPT_TAG not in run.data.tags:
            return str(run.info.run_id)
    if run is not None:
        raise PipelineError(
            "no finished run has all of its models any more (tracking.keep, prune); name one for "
            "what it still has."
        )
    raise PipelineError("no finished run has shipped a model yet; make quickstart makes one.")


def registered_names(client: "MlflowClient") -> list[str]:
    """Return the names of all registered models."""
    models = every_page(lambda token: client.search_registered_models(page_token=token))
    return [model.name for model in models]


def status_of(run: "Run") -> str:
    """Return a run's status as MLflow has it, or PRUNED for a job that the pruner stopped.

    The tag comes before the end of the run, which may be read in between.
    """
    is_over = run.info.status != RUNNING
    return PRUNED if is_over and PRUNED_TAG in run.data.tags else str(run.info.status)


def reason_of(run: "Run") -> str:
    """Return why a run did not finish; empty for a run that did, or that goes on."""
    tags = run.data.tags
    return str(tags.get(PRUNED_TAG) or tags.get(FAILURE_TAG, ""))


def digests_of(run: "Run") -> dict[str, str]:
    """Return the digests of a run's splits by split."""
    splits = {context: split for split, context in MLFLOW_CONTEXTS.items()}
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return {
        splits[tag.value]: item.dataset.digest
        for item in inputs
        for tag in item.tags
        if tag.key == CONTEXT_TAG and tag.value in splits
    }


def _experiment_ids(client: "MlflowClient") -> list[str]:
    experiments = every_page(lambda token: client.search_experiments(page_token=token))
    return [experiment.experiment_id for experiment in experiments]


def _last_active(run: "Run") -> tuple[float, int]:
    """Return when a run ended, or infinity while it runs, and when it began; ms since 1970."""
    info = run.info
    if info.end_time is not None:
        return info.end_time, info.start_time
    return info.start_time if is_dead(run.data.tags) else inf, info.start_time
