"""python -m pipeline.report: build the report page of a run again, from what the run logged."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.console import quiet
from pipeline.console.command_line import exit_code
from pipeline.errors import PipelineError

DESCRIPTION = """\
Write the report of a run: its corpus, its model and its quantization, as one HTML page that opens offline.

  python -m pipeline.report RUN_ID                     writes report-RUN_ID.html
  python -m pipeline.report RUN_ID --output FILE       writes FILE

Every run has this page among its artifacts already (reports/report.html). Runs are read from MLFLOW_TRACKING_URI, by default
from mlruns/mlflow.db.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line; None takes the process's.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.report",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN_ID", help="a run's id (32 hex digits)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page to write")
    options = parser.parse_args(arguments)
    quiet.third_parties()
    return exit_code(lambda: _report(options.run, options.output))


def _report(run_id: str, output: Path | None) -> None:
    from mlflow.tracking import MlflowClient

    from pipeline.config.resolve import read_logged
    from pipeline.reports.run_page import write_report
    from pipeline.tracking.store import find_run, store_errors, tracking_uri

    uri = tracking_uri()
    with store_errors(uri), tempfile.TemporaryDirectory() as scratch:
        client = MlflowClient(uri)
        run = find_run(client, run_id)
        if not client.list_artifacts(run_id, "reports"):
            raise PipelineError(
                f"run {run_id} ({run.info.status}) has no reports; they are logged when a run is FINISHED."
            )
        folders = {
            name: Path(client.download_artifacts(run_id, name, scratch))
            for name in ("config", "reports")
        }
        config = read_logged(folders["config"])
        file = output or Path(f"report-{run_id}.html")
        description = run.data.tags.get("mlflow.note.content", "")
        write_report(
            folders["reports"], run.info.run_name, description, config.dataset.max_length, file
        )
    print(file)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
