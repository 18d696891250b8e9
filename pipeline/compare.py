"""Compare runs: python -m pipeline.compare [RUN_A RUN_B | --sweep latest]."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.config.paths import typed_path
from pipeline.config.schema import Config, TrackingConfig
from pipeline.console import command_line, third_parties
from pipeline.console.markdown import printable
from pipeline.errors import PipelineError, redacted
from pipeline.names import (
    ACCURACY,
    COMPARISON_PAGE,
    CONFIG,
    DEFAULT_OBJECTIVE,
    FP32,
    INT8,
    PREDICTIONS_TABLE,
    REPORT_PAGE,
    REPORTS,
    SHIPPED_TAG,
    SWEEP_TAG,
    TEST,
)
from pipeline.tracking.lookup import (
    children_of,
    digests_of,
    find_experiment,
    find_run,
    find_sweep,
    objectives_of,
    search_all,
)
from pipeline.tracking.store import store_errors, tracking_uri

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from pipeline.comparison.comparison import Comparison
    from pipeline.evaluation.pairs import Pair

DESCRIPTION = """\
Compare runs: for each corpus a table sorted by the first metric, with what differs between them,
the Pareto-optimal runs marked, the spread over seeds, and confidence intervals of the
differences. Two run ids are shown side by side, with their differences only.
"""
EXAMPLES = """\
examples:
  python -m pipeline.compare --sweep latest
  python -m pipeline.compare --sweep latest --metric onnx_int8/latency_p50_ms accuracy
  python -m pipeline.compare --filter 'params.`qat.name` = "direct"' --format csv > direct.csv
  python -m pipeline.compare --sweep latest --format html     a page for the browser
  python -m pipeline.compare --sweep latest --format markdown     for a pull request
  python -m pipeline.compare RUN_A RUN_B
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.compare",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    command.add_argument("runs", metavar="RUN", nargs="*", help="ids of two or more runs")
    command.add_argument(
        "--sweep",
        metavar="ID",
        help="compare the runs of a sweep: id or name of its run, or latest",
    )
    command.add_argument(
        "--experiment",
        metavar="NAME",
        default=TrackingConfig.experiment_name,
        help="MLflow experiment (default: %(default)s)",
    )
    command.add_argument(
        "--metric",
        metavar="NAME",
        nargs="+",
        default=[],
        help="sort by the first; the others are shown too "
        f"(default: the sweep's objective, or {DEFAULT_OBJECTIVE})",
    )
    command.add_argument(
        "--filter", default="", help="further filter of the runs, in MLflow's syntax"
    )
    command.add_argument(
        "--format",
        choices=("table", "csv", "json", "markdown", "html"),
        default="table",
        help="format of the comparison (default: %(default)s)",
    )
    command.add_argument(
        "--output",
        metavar="FILE",
        type=typed_path,
        help=f"file to write (default: standard output; for html, {COMPARISON_PAGE})",
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what was typed after the command's name; None takes the process's.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    return command_line.exit_code(lambda: _compare(options))


def _compare(options: argparse.Namespace) -> None:
    if options.runs and (options.sweep or options.filter):
        raise PipelineError(
            "run ids cannot be combined with --sweep and --filter; give one or the other."
        )
    if len(options.runs) == 1:
        raise PipelineError("one run is nothing to compare; give a second id, or --sweep latest.")
    pair = len(options.runs) == 2 and options.format == "table"
    for name in ("output", "metric"):
        if pair and getattr(options, name):
            raise PipelineError(
                f"--{name} does not go with two run ids, which are shown side by side at the "
                "terminal; add --format csv, json, markdown or html."
            )
    third_parties.prepare()
    from pipeline.tracking.connection import ui_address
    from pipeline.tracking.database import open_client

    uri = tracking_uri()
    with store_errors(uri):
        client = open_client(uri)
        title, runs, objectives = _selected(client, options)
    if pair:
        _show_two(client, runs[0], runs[1], ui_address(uri))
        return
    from pipeline.comparison.corpora import check_logged, compare

    check_logged(options.metric, runs)
    comparisons = compare(runs, options.metric or objectives)
    _write(comparisons, title, ui_address(uri), options)


def _show_two(client: "MlflowClient", first: "Run", second: "Run", ui: str) -> None:
    """Show what differs between two runs, and the test texts that they answer differently."""
    from pipeline.reports.comparison_table import show_pair, show_side_by_side
    from pipeline.tracking import views

    show_side_by_side(first, second)
    with store_errors(client.tracking_uri):
        pair = _pair(client, first, second)
    if pair is not None:
        show_pair(pair, _texts(client, first))
    for run in (first, second):
        if _has_report(client, run.info.run_id):
            place = views.run_place(run.info.experiment_id, run.info.run_id).partition("?")[0]
            line = f"report of {run.info.run_name}: {ui}{place}/artifacts/{REPORTS}/{REPORT_PAGE}"
            print(printable(line))  # noqa: T201


def _has_report(client: "MlflowClient", run_id: str) -> bool:
    with store_errors(client.tracking_uri):
        return f"{REPORTS}/{REPORT_PAGE}" in [
            file.path for file in client.list_artifacts(run_id, REPORTS)
        ]


def _pair(client: "MlflowClient", first: "Run", second: "Run") -> "Pair | None":
    """Read the answers of both; None if they were not asked the same texts."""
    from pipeline.evaluation.pairs import pair_of

    digests = [digests_of(run).get(TEST) for run in (first, second)]
    if digests[0] is None or digests[0] != digests[1]:
        return None
    one, other = (_predictions(client, run) for run in (first, second))
    if one is None or other is None:
        return None
    (labels, answers), (_, other_answers) = one, other
    return pair_of(labels, answers, other_answers)


def _predictions(client: "MlflowClient", run: "Run") -> "tuple[pd.Series, pd.Series] | None":
    """Read true labels and those that the shipped model of a run gives; None if it has none."""
    import pandas as pd

    name = f"{REPORTS}/{PREDICTIONS_TABLE}"
    if name not in [file.path for file in client.list_artifacts(run.info.run_id, REPORTS)]:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        file = client.download_artifacts(run.info.run_id, name, scratch)
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    shipped = run.data.tags.get(SHIPPED_TAG) or (INT8 if INT8 in table else FP32)
    return (table["label"], table[shipped]) if {"label", shipped} <= set(table) else None


def _texts(client: "MlflowClient", run: "Run") -> "Sequence[str] | None":
    """Read the test texts again; None with a warning if they are not there as they were."""
    from omegaconf import OmegaConf

    from pipeline.config import hub
    from pipeline.config.resolve import read_logged
    from pipeline.data.corpus import load_corpus

    try:
        with tempfile.TemporaryDirectory() as scratch:
            with store_errors(client.tracking_uri):
                folder = Path(client.download_artifacts(run.info.run_id, CONFIG, scratch))
            config = cast(Config, OmegaConf.to_object(read_logged(folder)))
        hub.use_cache_if_silent(config)
        corpus = load_corpus(replace(config.dataset, unlabelled_file=None))
    except PipelineError as error:
        print(printable(f"the texts cannot be read: {error}"))  # noqa: T201
        return None
    if corpus.digests[TEST] != digests_of(run).get(TEST):
        print("the texts have changed since")  # noqa: T201
        return None
    return list(corpus.splits[TEST]["text"])


def _selected(
    client: "MlflowClient", options: argparse.Namespace
) -> "tuple[str, list[Run], list[str]]":
    """Read the runs to compare; return the title of their comparison, them and the objectives."""
    objectives: list[str] = []
    if options.runs:
        runs = [find_run(client, run_id) for run_id in options.runs]
        return "runs", runs, _default_objectives(runs)
    if options.sweep:
        parent = find_sweep(client, options.sweep)
        objectives = objectives_of(parent)
        title, search = parent.info.run_name, partial(children_of, client, parent)
    else:
        title = options.experiment
        search = partial(search_all, client, [find_experiment(client, title)])
    runs = [run for run in _filtered(search, options.filter) if SWEEP_TAG not in run.data.tags]
    if not runs:
        narrowed = f" with --filter {options.filter!r}" if options.filter else ""
        raise PipelineError(
            f"there are no runs in {title}{narrowed} ({redacted(client.tracking_uri)})."
        )
    return title, runs, objectives or _default_objectives(runs)


def _default_objectives(runs: "Sequence[Run]") -> list[str]:
    """Return the default objective, or that of version 0.1.0 for runs that lack it."""
    has_default = any(DEFAULT_OBJECTIVE in run.data.metrics for run in runs)
    return [DEFAULT_OBJECTIVE if has_default else ACCURACY]


def _filtered(search: "partial[list[Run]]", filter_string: str) -> "list[Run]":
    from mlflow.exceptions import MlflowException

    try:
        return search(filter_string)
    except MlflowException as error:
        if not filter_string:
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        raise PipelineError(
            f"--filter {filter_string!r} is not understood: {reason}; an example: "
            "'params.`qat.name` = \"direct\"'."
        ) from error


def _write(
    comparisons: "Sequence[Comparison]", title: str, ui: str, options: argparse.Namespace
) -> None:
    if options.format == "html":
        from pipeline.reports.comparison_page import write_page

        file = options.output or Path(COMPARISON_PAGE)
        with command_line.writing(file):
            write_page(comparisons, title, ui, file)
        print(f"wrote {file}")  # noqa: T201
        return
    with command_line.writing(options.output or command_line.STANDARD_OUTPUT):
        if options.format == "table" and options.output is None:
            from pipeline.reports.comparison_table import show_comparisons

            show_comparisons(comparisons, title)
            return
        text = _as_text(comparisons, title, options.format)
        if options.output is None:
            print(text, end="" if text.endswith("\n") else "\n")  # noqa: T201
        else:
            options.output.write_text(text, encoding="utf-8")


def _as_text(comparisons: "Sequence[Comparison]", title: str, text_format: str) -> str:
    from pipeline.comparison.corpora import table_of

    if text_format == "markdown":
        from pipeline.reports.comparison_table import markdown

        return markdown(comparisons, title)
    table = table_of(comparisons)
    if text_format == "json":
        return str(table.to_json(orient="records", indent=2))
    if text_format == "csv":
        from pipeline.console.csv_tables import csv_text

        return csv_text(table)
    return f"{table.to_string(index=False)}\n"


if __name__ == "__main__":
    sys.exit(main())
