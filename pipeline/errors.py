"""Say what went wrong in one line for the person who typed the command, without secrets."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

# A password may hold a slash: SQLAlchemy takes USER:PASSWORD to end at the last @.
_CREDENTIALS = re.compile(r"(?<=://)(?:[^/:@\s]*:\S*|[^/\s]*)@")
_SECRET_PARAMETERS = re.compile(
    r"([?&#;](?:code|sas|[^=&\s]*(?:auth|credential|jwt|key|passphrase|passw|pwd|secret|sig|token)"
    r"[^=&\s]*)=)[^&;\s'\"]+",
    re.IGNORECASE,
)

HIDDEN = "***"
INTERRUPTED = "interrupted"  # why a run is KILLED


class PipelineError(Exception):
    """Tell in one line what was wrong, what is there and what would be accepted.

    A command that raises it exits with `exit_code`.
    """

    exit_code = 2


class JobsFailedError(PipelineError):
    """Report a sweep that came to its end with failed jobs."""

    exit_code = 1


class DiskFullError(PipelineError):
    """Report a disk that is full."""


class FiguresDifferError(PipelineError):
    """Report a repeated run whose figures differ from the first ones."""

    exit_code = 1


class JobPrunedError(Exception):
    """Stop a job of a sweep that the sweep's pruner gave up; the line names both figures."""


def reason_line(error: BaseException) -> str:
    """Say in one line why a run or a job ended: our errors as they are, others with their type.

    Args:
        error: the exception that ended it.
    """
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    is_ours = isinstance(error, PipelineError | JobPrunedError)
    return (str(error) if is_ours else f"{type(error).__name__}: {error}").splitlines()[0]


def nearest(typed: str, accepted: Iterable[str], limit: int = 3) -> str:
    """Name the accepted values that are closest to what was typed.

    Args:
        typed: the value that was refused.
        accepted: every value that would have worked.
        limit: how many values to name at most.

    Returns:
        "did you mean a, b?" when something is close, else "accepted: a, b, c".
    """
    options = sorted(set(accepted))
    close = get_close_matches(typed, options, n=limit, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"accepted: {', '.join(options)}."


def is_redacted(text: str) -> bool:
    """Tell whether redacted() took something out of a text."""
    return f"://{HIDDEN}@" in text or f"={HIDDEN}" in text


def redacted(text: str) -> str:
    """Replace the credentials and secret query parameters of every URL in a text by HIDDEN."""
    return _SECRET_PARAMETERS.sub(rf"\1{HIDDEN}", _CREDENTIALS.sub(f"{HIDDEN}@", text))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has no text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
