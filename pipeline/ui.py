"""Serve the MLflow UI on the runs of this project: python -m pipeline.ui."""

import argparse
import os
import socket
import sys
from collections.abc import Sequence

from pipeline.console import command_line, third_parties
from pipeline.errors import PipelineError, redacted
from pipeline.names import PARENT_TAG, SWEEP_TAG
from pipeline.tracking.lookup import NEWEST_FIRST, every_page
from pipeline.tracking.store import store_errors, tracking_uri

STORE_VARIABLE = "MLFLOW_BACKEND_STORE_URI"  # of mlflow ui
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
    is_server = uri.startswith("http")
    if not is_server:
        _check_free(host, port)
    address = ui_address(uri) if is_server else f"http://{host}:{port}"
    print(f"open {address}{_newest(uri)}", flush=True)  # noqa: T201
    if not is_server:
        # Not an argument: it may hold a password, and every user of the machine could read it.
        os.environ[STORE_VARIABLE] = uri
        # MLflow 3.17 starts nine more processes for jobs of its GenAI pages, which take longer to
        # start than the server itself.
        os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        served = ["--host", host, "--port", str(port)]
        os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", *served])  # noqa: S606


def _check_free(host: str, port: int) -> None:
    """Make sure, before anything is said, that the address can be listened on."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "0 to 65535 are ports"
        raise PipelineError(
            f"http://{host}:{port} cannot be served: {reason}; choose another --port "
            "(make ui PORT=5002)."
        ) from error


def _newest(uri: str) -> str:
    """Return what the address has after the server's, for the newest run or sweep."""
    from mlflow.tracking import MlflowClient

    from pipeline.tracking import views

    with store_errors(redacted(uri)):
        client = MlflowClient(uri)
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
