"""Serve a tracking server for a team on this machine: python -m pipeline.server [--port N]."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.config.paths import typed_path
from pipeline.console import command_line, third_parties
from pipeline.console.ports import check_free
from pipeline.cpus import available_cpus
from pipeline.errors import PipelineError, redacted
from pipeline.tracking.postgresql import PostgreSQL
from pipeline.tracking.store import SERVED_VARIABLE

HOST = "127.0.0.1"
ARTIFACTS_VARIABLE = "MLFLOW_ARTIFACTS_DESTINATION"  # of mlflow server
FOLDER = Path("mlruns/server")
MAX_WORKERS = 4  # of mlflow server by default
STOP_SECONDS = 10.0  # that requests have to end after Ctrl-C
DESCRIPTION = f"""\
Serve MLflow on 127.0.0.1, with runs in PostgreSQL and artifacts behind the server. Ctrl-C ends
both, and what was logged is there again with the next start.

  python -m pipeline.server
  python -m pipeline.server --port 5002 --folder DIR

PostgreSQL is started over DIR/postgresql; {SERVED_VARIABLE} names a database that runs
already, as postgresql://USER:PASSWORD@HOST/NAME. Artifacts go to DIR/artifacts;
{ARTIFACTS_VARIABLE} names another place, as s3://BUCKET.
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.server",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--port", type=int, default=5000, help="default: %(default)s")
    command.add_argument(
        "--folder",
        metavar="DIR",
        type=typed_path,
        default=FOLDER,
        help="where database and artifacts lie (default: %(default)s)",
    )
    command.add_argument(
        "--upgrade",
        action="store_true",
        help="migrate a database that an older MLflow made; make a backup of it first",
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
    return command_line.exit_code(lambda: _serve(options))


def _serve(options: argparse.Namespace) -> None:
    check_free(HOST, options.port, "server")
    with _database(options.folder / "postgresql") as address:
        _prepare(address, upgrade=options.upgrade)
        with contextlib.suppress(KeyboardInterrupt):  # how a server ends
            _run_mlflow(address, options.port, options.folder)


@contextlib.contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PipelineError(f"--folder {folder} cannot be used: {error.strerror}.") from error


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[str]:
    """Yield the address of the database: of the one that is named, or else of our own."""
    if address := os.environ.get(SERVED_VARIABLE):
        with _folder_errors(folder.parent):
            folder.parent.mkdir(parents=True, exist_ok=True)
        yield address
        return
    database = PostgreSQL(folder)
    with _folder_errors(folder.parent):
        database.start()
    try:
        yield database.address
    finally:
        database.close()


def _prepare(address: str, *, upgrade: bool) -> None:
    """Refuse the tables of another MLflow, or migrate them; mlflow server makes those that lack.

    Raises:
        PipelineError: the database does not answer, or is of another MLflow.
    """
    from mlflow.db import upgrade as migrate

    from pipeline.tracking.database import OlderSchemaError, check_database
    from pipeline.tracking.store import store_errors

    with store_errors(address):
        try:
            check_database(address)
        except OlderSchemaError as error:
            if not upgrade:
                raise PipelineError(
                    f"{redacted(address)} was made by an older MLflow; make a backup of it, and "
                    "migrate it with --upgrade."
                ) from error
            # In this process: the arguments of another, with the password, are seen by every user.
            migrate.main([address], standalone_mode=False)


def _run_mlflow(address: str, port: int, folder: Path) -> None:
    """Serve until the server or a signal ends it.

    Raises:
        PipelineError: the server has ended by itself.
    """
    defaults = {
        ARTIFACTS_VARIABLE: str((folder / "artifacts").absolute()),
        "MLFLOW_WORKERS": str(min(MAX_WORKERS, available_cpus())),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # of GenAI evaluations
    }
    log = folder / "mlflow.log"
    with _folder_errors(folder):
        log.touch()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)],
            # Not an argument: it may hold a password, and every user could read it.
            env=defaults | os.environ | {SERVED_VARIABLE: address},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the other
        )
    try:
        if _answers(process, port):
            print(  # noqa: T201
                f"open http://{HOST}:{port}, and send runs there with tracking=server "
                f"tracking.tracking_uri=http://{HOST}:{port} (log: {log}; Ctrl-C ends it)",
                flush=True,
            )
        process.wait()
    finally:
        _end(process)
    raise PipelineError(f"mlflow server has ended by itself; {log} says why.")


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait for the server's first answer; return False if it ends before."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5).close()
            return True
        time.sleep(0.2)
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server with its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return


if __name__ == "__main__":
    sys.exit(main())
