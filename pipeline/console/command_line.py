"""What every command does alike: exit codes, the one line of an error, a progress bar."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pipeline.console import interrupt
from pipeline.errors import PipelineError
from pipeline.redaction import redacted

EXIT_INTERRUPTED = 130
FULL_ERROR = "HYDRA_FULL_ERROR"
USER_CHOICE = "PIPELINE_FULL_ERROR"  # what the user set FULL_ERROR to, where cli.py has to set it

T = TypeVar("T")


def exit_code(command: Callable[[], int | None]) -> int:
    """Run a command.

    Args:
        command: returns its exit code; None is 0.

    Returns:
        The command's exit code, that of a PipelineError (2 as a rule), 130 after Ctrl-C or SIGTERM.
    """
    interrupt.listen()
    try:
        return command() or 0
    except KeyboardInterrupt:
        complain("interrupted")
        return EXIT_INTERRUPTED
    except PipelineError as error:
        if wants_traceback():
            raise
        complain(str(error))
        return error.exit_code


def wants_traceback() -> bool:
    """Whether the person at the terminal asked for tracebacks with HYDRA_FULL_ERROR=1."""
    return os.environ.get(USER_CHOICE, os.environ.get(FULL_ERROR)) == "1"


def complain(line: str) -> None:
    """Print an error's line to standard error, without secrets."""
    print(f"error: {redacted(line)}", file=sys.stderr)  # noqa: T201


def progress(items: Iterable[T], unit: str) -> Iterator[T]:
    """Pass items on, counting them on standard error if the results go to a file and a person watches."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from items
        return
    from tqdm import tqdm

    yield from tqdm(items, unit=f" {unit}", unit_scale=True, leave=False)
