"""Compare runs: python -m pipeline.compare [RUN_A RUN_B | --sweep latest]."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.schema import TrackingConfig
from pipeline.console import command_line, quiet
from pipeline.errors import PipelineError, nearest
from pipeline.redaction import redacted
from pipeline.tracking.store import (
    SWEEP_TAG,
    children_of,
    find_run,
    find_sweep,
    search_all,
    store_errors,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from pipeline.comparison.comparison import Comparison

PAGE = "comparison.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.compare",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Compare runs: a table sorted by the first metric, with what differs, Pareto-optimal runs marked, the\n"
        "spread over seeds, and confidence intervals of the differences. Two run ids: side by side, differences only.",
        epilog="examples:\n"
        "  python -m pipeline.compare --sweep latest\n"
        "  python -m pipeline.compare --sweep latest --metric onnx_int8/latency_p50_ms accuracy\n"
        "  python -m pipeline.compare --filter \"params.`qat.name` = 'direct'\" --format csv > direct.csv\n"
        "  python -m pipeline.compare --sweep latest --format html     a page for the browser\n"
        "  python -m pipeline.compare RUN_A RUN_B\n",
    )
    parser.add_argument("runs", metavar="RUN", nargs="*", help="two or more run ids")
    parser.add_argument(
        "--sweep", metavar="ID", help="the runs of one sweep: id or name of its run, or latest"
    )
    parser.add_argument(
        "--experiment",
        metavar="NAME",
        default=TrackingConfig.experiment_name,
        help="MLflow experiment (default: %(default)s)",
    )
    parser.add_argument(
        "--metric",
        nargs="+",
        default=[],
        help="sort by the first; the others are shown too (default: accuracy)",
    )
    parser.add_argument(
        "--filter", default="", help="a filter in MLflow's syntax, on top of the others"
    )
    parser.add_argument(
        "--format",
        choices=("table", "csv", "json", "html"),
        default="table",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help=f"default: standard output; of html, {PAGE}"
    )
    options = parser.parse_args(arguments)
    return command_line.exit_code(lambda: _compare(options))


def _compare(options: argparse.Namespace) -> None:
    if options.runs and (options.sweep or options.filter):
        raise PipelineError("run ids do not go with --sweep and --filter; give one or the other.")
    if len(options.runs) == 1:
        raise PipelineError("one run is nothing to compare; give a second id, or --sweep latest.")
    quiet.third_parties()
    from mlflow.tracking import MlflowClient

    from pipeline.tracking.connection import ui_address

    uri = tracking_uri()
    with store_errors(uri):
        client = MlflowClient(uri)
        title, runs = _selected(client, options)
    if len(options.runs) == 2 and options.format == "table":
        from pipeline.reports.wording import show

        show(*runs)
        return
    from pipeline.comparison.comparison import Comparison

    _write(Comparison.of(runs, _metrics(options.metric, runs)), title, ui_address(uri), options)


def _selected(client: "MlflowClient", options: argparse.Namespace) -> "tuple[str, list[Run]]":
    from mlflow.exceptions import MlflowException

    if options.runs:
        return "runs", [find_run(client, run_id) for run_id in options.runs]
    if options.sweep:
        parent = find_sweep(client, options.sweep)
        title, search = parent.info.run_name, partial(children_of, client, parent)
    else:
        experiment = client.get_experiment_by_name(options.experiment)
        if experiment is None:
            names = [found.name for found in client.search_experiments()]
            raise PipelineError(
                f"--experiment {options.experiment} is unknown; {nearest(options.experiment, names)}"
            )
        title, search = options.experiment, partial(search_all, client, [experiment.experiment_id])
    try:
        found = search(options.filter)
    except MlflowException as error:
        if not options.filter:
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        raise PipelineError(
            f"--filter {options.filter!r} is not understood: {reason}; an example: \"params.`qat.name` = 'direct'\"."
        ) from error
    runs = [run for run in found if SWEEP_TAG not in run.data.tags]
    if not runs:
        narrowed = f" with --filter {options.filter!r}" if options.filter else ""
        raise PipelineError(
            f"there are no runs in {title}{narrowed} ({redacted(client.tracking_uri)})."
        )
    return title, runs


def _metrics(asked: Sequence[str], runs: "Sequence[Run]") -> list[str]:
    known = {name for run in runs for name in run.data.metrics}
    for name in asked:
        if name not in known:
            raise PipelineError(
                f"--metric {name} is logged by none of these {len(runs)} runs; {nearest(name, known, 5)}"
            )
    return list(asked) or ["accuracy"]


def _write(comparison: "Comparison", title: str, ui: str, options: argparse.Namespace) -> None:
    if options.format == "html":
        from pipeline.reports.comparison_page import write_page

        file = options.output or Path(PAGE)
        write_page(comparison, title, ui, file)
        print(f"wrote {file}")  # noqa: T201
        return
    if options.format == "table" and options.output is None:
        from pipeline.reports.comparison_table import show

        show(comparison, title)
        return
    table = comparison.table()
    if options.format == "json":
        text = table.to_json(orient="records", indent=2)
    else:
        text = (
            table.to_csv(index=False)
            if options.format == "csv"
            else f"{table.to_string(index=False)}\n"
        )
    if options.output is None:
        print(text, end="" if text.endswith("\n") else "\n")  # noqa: T201
    else:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
