"""Write the report page of a run again from what it logged: python -m pipeline.report RUN_ID."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.paths import typed_path
from pipeline.console import command_line, third_parties
from pipeline.errors import PipelineError
from pipeline.names import CONFIG, DESCRIPTION_TAG, REPORT_PAGE, REPORTS
from pipeline.tracking.lookup import find_run
from pipeline.tracking.store import store_errors, tracking_uri

DESCRIPTION = f"""\
Write the report of a run: its corpus, its model and its quantization, as one HTML page that
opens offline.

  python -m pipeline.report RUN_ID                     writes report-RUN_ID.html
  python -m pipeline.report RUN_ID --output FILE       writes FILE

Every finished run has this page among its artifacts already ({REPORTS}/{REPORT_PAGE}). Runs are
read from MLFLOW_TRACKING_URI, by default from mlruns/mlflow.db.
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.report",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("run", metavar="RUN_ID", help="id of the run (32 hex digits)")
    command.add_argument(
        "--output",
        type=typed_path,
        metavar="FILE",
        help="page to write (default: report-RUN_ID.html)",
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
    third_parties.prepare()
    return command_line.exit_code(lambda: _report(options.run, options.output))


def _report(run_id: str, output: Path | None) -> None:
    from pipeline.config.resolve import read_logged
    from pipeline.reports.run_page import write_report
    from pipeline.tracking.database import open_client

    uri = tracking_uri()
    with tempfile.TemporaryDirectory() as scratch:
        with store_errors(uri):
            client = open_client(uri)
            run = find_run(client, run_id)
            if not client.list_artifacts(run_id, REPORTS):
                raise PipelineError(
                    f"run {run_id} ({run.info.status}) has no reports; they are logged when a run "
                    "is FINISHED."
                )
            folders = {
                name: Path(client.download_artifacts(run_id, name, scratch))
                for name in (CONFIG, REPORTS)
            }
        config = read_logged(folders[CONFIG])
        file = output or Path(f"report-{run_id}.html")
        # A table of the figures follows, which the page has as well.
        description = run.data.tags.get(DESCRIPTION_TAG, "").partition("\n\n")[0]
        with command_line.writing(file):
            write_report(
                folders[REPORTS], run.info.run_name, description, config.dataset.max_length, file
            )
    print(file)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
