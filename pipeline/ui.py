"""Serve the MLflow UI on the runs of this project: python -m pipeline.ui."""

import argparse
import os
import sys
from collections.abc import Sequence

from pipeline.console import command_line, third_parties
from pipeline.console.ports import check_free
from pipeline.errors import redacted
from pipeline.names import PARENT_TAG, SWEEP_TAG
from pipeline.tracking.lookup import NEWEST_FIRST, every_page
from pipeline.tracking.store import SERVED_VARIABLE, is_server, store_errors, tracking_uri

DESCRIPTION = """\
Serve the MLflow UI, and print the address that opens the newest runs in it: those of the newest
sweep, if that is what ran last, best first. A store that is a server already needs no second one:
its address is all that is printed.

  python -m pipeline.ui
  python -m pipeline.ui --port 5002

Runs are read from MLFLOW_TRACKING_URI, by default from mlruns/mlflow.db.
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.ui",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    command.add_argument("--port", type=int, default=5000, help="default: %(default)s")
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
    return command_line.exit_code(lambda: _serve(options.host, options.port))


def _serve(host: str, port: int) -> None:
    from pipeline.tracking.connection import ui_address

    uri = tracking_uri()
    served = is_server(uri)
    if not served:
        check_free(host, port, "ui")
    address = ui_address(uri) if served else f"http://{host}:{port}"
    print(f"open {address}{_newest(uri)}", flush=True)  # noqa: T201
    if not served:
        # Not an argument: it may hold a password, and every user of the machine could read it.
        os.environ[SERVED_VARIABLE] = uri
        # MLflow 3.17 would start a process for each kind of job of its GenAI pages.
        os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        place = ["--host", host, "--port", str(port)]
        os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", *place])  # noqa: S606


def _newest(uri: str) -> str:
    """Return what the address has after the server's, for the newest run or sweep."""
    from pipeline.tracking import views
    from pipeline.tracking.database import open_client

    with store_errors(redacted(uri)):
        client = open_client(uri)
        experiments = every_page(lambda token: client.search_experiments(page_token=token))
        ids = [each.experiment_id for each in experiments]
        runs = client.search_runs(ids, order_by=list(NEWEST_FIRST), max_results=1)
    if not runs:
        return views.experiments_place()
    run, tags = runs[0].info, runs[0].data.tags
    sweep_id = run.run_id if SWEEP_TAG in tags else tags.get(PARENT_TAG)
    experiment = next(each for each in experiments if each.experiment_id == run.experiment_id)
    return views.runs_place(run.experiment_id, sweep_id, experiment.tags)


if __name__ == "__main__":
    sys.exit(main())
