"""Give every command the same exit codes, one-line errors and progress bar."""

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.console import interrupt
from pipeline.console.disk import FULL as DISK_FULL
from pipeline.console.markdown import printable
from pipeline.errors import INTERRUPTED, PipelineError, redacted

if TYPE_CHECKING:
    from tqdm import tqdm

EXIT_INTERRUPTED = 130
FULL_ERROR = "HYDRA_FULL_ERROR"
USER_CHOICE = "PIPELINE_FULL_ERROR"  # what the user set FULL_ERROR to, where cli.py has to set it
STANDARD_OUTPUT = "standard output"  # what an error calls it

T = TypeVar("T")


class OutputClosedError(Exception):
    """Say that who reads standard output has seen enough, as in `| head`; no reason to complain."""


def exit_code(command: Callable[[], int | None]) -> int:
    """Run a command, and turn how it ends into an exit code.

    Args:
        command: the command; it returns its exit code, or None for 0.

    Returns:
        The command's exit code, that of a PipelineError (2 unless it says otherwise), 2 if a file
        refuses what is done with it, or 130 after Ctrl-C or SIGTERM.
    """
    interrupt.listen()
    try:
        with interrupt.before_errors():
            code = command() or 0
            _flush()
            return code
    except KeyboardInterrupt as stop:
        complain(str(stop) or INTERRUPTED)
        return EXIT_INTERRUPTED
    except OutputClosedError:
        return 0
    except PipelineError as error:
        if wants_traceback():
            raise
        complain(str(error))
        return error.exit_code
    except OSError as error:
        line = _of_a_file(error)
        if line is None or wants_traceback():
            raise
        with contextlib.suppress(PipelineError, OutputClosedError):  # it is said already
            _flush()
        complain(line)
        return PipelineError.exit_code


@contextlib.contextmanager
def writing(place: object) -> Iterator[None]:
    """Turn what a file says that cannot be written into one line that names it.

    Args:
        place: the file, or STANDARD_OUTPUT.

    Raises:
        PipelineError: the file cannot be written.
        OutputClosedError: nobody reads standard output any more.
    """
    try:
        yield
    except BrokenPipeError as error:
        if place != STANDARD_OUTPUT:
            raise
        discard_output()
        raise OutputClosedError from error
    except OSError as error:
        if place == STANDARD_OUTPUT:
            discard_output()
        raise PipelineError(f"{place} cannot be written: {error.strerror or error}.") from error


def discard_output() -> None:
    """Send what standard output still holds nowhere: Python would complain once more at exit."""
    # What takes its place in a notebook or a test is no file, and a daemon may have none.
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flush() -> None:
    """Write out what is buffered while an error can still be told in a line."""
    if sys.stdout is not None:  # a daemon may have none
        with writing(STANDARD_OUTPUT):
            sys.stdout.flush()


def _of_a_file(error: OSError) -> str | None:
    """Say what a file refuses; None if the error is of something else, such as a connection."""
    if error.errno is None or isinstance(error, BrokenPipeError):
        return None
    if error.filename is not None:
        return f"{_name(error.filename)}: {error.strerror} ({FULL_ERROR}=1 shows where)."
    if error.errno in DISK_FULL:  # of a write, which does not say where to
        return f"a disk is full, perhaps that of {STANDARD_OUTPUT}: {error.strerror}."
    return None


def _name(file: object) -> str:
    return os.fsdecode(file) if isinstance(file, bytes) else str(file)


def wants_traceback() -> bool:
    """Tell whether the person at the terminal asked for tracebacks with HYDRA_FULL_ERROR=1."""
    return os.environ.get(USER_CHOICE, os.environ.get(FULL_ERROR)) == "1"


def in_checkout() -> bool:
    """Tell whether the working folder is the project's own, so that its make targets work."""
    return Path.cwd() == Path(__file__).parents[2] and Path("Makefile").is_file()


def python(*arguments: str, **environment: str) -> str:
    """Write a command that works as it stands, in this folder and with this Python.

    Args:
        arguments: what follows `python`.
        environment: variables to set for it.
    """
    name, executable = "python", Path(sys.executable)
    # Not resolved: the python of a virtual environment is a link to one without the project.
    if Path(shutil.which(name) or "").absolute() != executable.absolute():
        near = executable.is_relative_to(Path.cwd())
        name = str(executable.relative_to(Path.cwd()) if near else executable)
    variables = [f"{key}={shlex.quote(value)}" for key, value in environment.items()]
    return " ".join([*variables, shlex.join([name, *arguments])])


def complain(line: str) -> None:
    """Print an error's line to standard error, without secrets and what would steer a terminal."""
    print(f"error: {printable(redacted(line))}", file=sys.stderr)  # noqa: T201


def note(line: str) -> None:
    """Print a line for the person at the terminal to standard error, as an error's."""
    print(printable(redacted(line)), file=sys.stderr)  # noqa: T201


def counter(description: str, unit: str, total: int | None = None, done: int = 0) -> "tqdm[Any]":
    """Open a progress bar on standard error that shows when its work takes more than a second.

    Args:
        description: what is done with the items.
        unit: name of an item.
        total: number of items, if it is known.
        done: number of items that an earlier start has done.
    """
    from tqdm import tqdm

    return tqdm(
        desc=description,
        total=total,
        initial=done,
        unit=f" {unit}",
        unit_scale=True,
        delay=1,
        leave=False,
        disable=not sys.stderr.isatty(),
    )


def progress(items: Iterable[T], unit: str) -> Iterator[T]:
    """Count items on standard error while they pass.

    Nothing is counted unless a person watches standard error and the results go elsewhere.

    Args:
        items: items to pass on.
        unit: name of an item.
    """
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from items
        return
    from tqdm import tqdm

    yield from tqdm(items, unit=f" {unit}", unit_scale=True, leave=False)
