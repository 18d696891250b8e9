"""Serve a deployed model on this machine: python -m pipeline.serve [--model MODEL] [--port N]."""

import argparse
import sys
from collections.abc import Sequence
from math import ceil

from pipeline.console import command_line, third_parties
from pipeline.cpus import available_cpus
from pipeline.errors import PipelineError
from pipeline.inference.texts import MAX_TEXT_CHARACTERS, MAX_TEXTS
from pipeline.names import CHAMPION
from pipeline.serving.limits import Limits
from pipeline.tracking.locate_model import model_directory

LIMITS = Limits()
LAST_PORT = 65_535
MOST_WORKERS = 1000
DESCRIPTION = f"""\
Serve a deployed model over HTTP, with the routes and formats of MLflow's scoring server. The
model's directory is read as data: code in it never runs, and a directory with a pickle is refused.

limits:
  texts      {MAX_TEXTS:,} in a request, with {MAX_TEXT_CHARACTERS:,} characters each
  bytes      {LIMITS.request_bytes:,} in a request, {LIMITS.answer_bytes:,} in an answer;
             {LIMITS.held_bytes:,} of all of them at once, beyond which the answer is 503 with
             Retry-After
  seconds    {LIMITS.transfer_seconds:g} to send a request, {LIMITS.transfer_seconds:g} to receive \
its answer; --timeout until the answer
"""
EXAMPLES = """\
ask it:
  curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' \\
    -d '{"inputs": ["what a day"]}'
"""


def _port(typed: str) -> int:
    if typed.isdecimal() and int(typed) <= LAST_PORT:
        return int(typed)
    raise argparse.ArgumentTypeError(f"{typed} is no port; 0 to {LAST_PORT} are (0: any free one).")


def _workers(typed: str) -> int:
    if typed.isdecimal() and 1 <= int(typed) <= MOST_WORKERS:
        return int(typed)
    raise argparse.ArgumentTypeError(f"{typed} is no number of processes; 1 to {MOST_WORKERS} are.")


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.serve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    command.add_argument(
        "--model",
        default=CHAMPION,
        help="run id, models:/NAME@ALIAS, models:/NAME/VERSION or directory (default: %(default)s)",
    )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only)",
    )
    command.add_argument(
        "--port", type=_port, default=5001, help="port to listen on (default: %(default)s)"
    )
    command.add_argument(
        "--workers",
        metavar="N",
        type=_workers,
        default=1,
        help="processes that share the port, each with the model and these limits for itself; one "
        "for each CPU answers more single texts a second (default: %(default)s)",
    )
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=LIMITS.answer_seconds,
        help="longest time that a request waits and is worked on (default: %(default)g)",
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
    return command_line.exit_code(lambda: _serve(options))


def _serve(options: argparse.Namespace) -> None:
    if not options.timeout > 0:
        raise PipelineError(f"--timeout {options.timeout} must be above 0.")
    third_parties.prepare()
    from pipeline.serving.processes import Service, listen, serve_alone, serve_with_workers

    limits = Limits(answer_seconds=options.timeout)
    calls = ceil(available_cpus() / options.workers)
    service = Service(model_directory(options.model), limits, calls)
    classifier = service.load()
    with listen(options.host, options.port) as listening:
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{host}:{listening.getsockname()[1]}/invocations"
        print(f"serving {options.model} on {address}", file=sys.stderr, flush=True)  # noqa: T201
        if options.workers == 1:
            serve_alone(listening, service, classifier)
        else:
            del classifier  # each worker has its own
            serve_with_workers(listening, service, options.workers)


if __name__ == "__main__":
    sys.exit(main())
