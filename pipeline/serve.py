"""Serve a deployed model on this machine: python -m pipeline.serve [--model MODEL] [--port N]."""

import argparse
import os
import sys
from collections.abc import Sequence

from pipeline.console import command_line, third_parties
from pipeline.cpus import available_cpus
from pipeline.errors import PipelineError
from pipeline.inference.classifier import TextClassifier
from pipeline.inference.texts import MAX_TEXT_CHARACTERS, MAX_TEXTS
from pipeline.names import CHAMPION
from pipeline.serving.limits import Limits
from pipeline.tracking.locate_model import model_directory

LIMITS = Limits()
LAST_PORT = 65_535
THREADS_SECONDS = 0.3  # that a call of the runtime has to end, after the server has
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
    # A thread for each call, and a call for each CPU: they need not wait for each other.
    calls = available_cpus()
    classifier = TextClassifier(model_directory(options.model), threads=1, calls=calls)
    from pipeline.serving import listening
    from pipeline.serving.answers import Answers
    from pipeline.serving.app import application

    limits = Limits(answer_seconds=options.timeout)
    answers = Answers(classifier, limits, calls)

    def announce(address: str) -> None:
        told = f"serving {options.model} on {address}/invocations"
        print(told, file=sys.stderr, flush=True)  # noqa: T201

    try:
        listening.serve(application(answers, limits), limits, options.host, options.port, announce)
    finally:
        if not answers.stop(THREADS_SECONDS):
            # Python waits for its threads at exit, and a call of the runtime may take a minute.
            os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
