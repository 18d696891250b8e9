"""The error that is shown to the person who typed the command, as one line."""

from collections.abc import Iterable
from difflib import get_close_matches


class PipelineError(Exception):
    """What was wrong, what was found and what would be accepted, on one line; the command exits with exit_code."""

    exit_code = 2


class JobsFailedError(PipelineError):
    """A sweep came to its end, but not all of its jobs did."""

    exit_code = 1


class FiguresDifferError(PipelineError):
    """A run was repeated, but its figures did not come again."""

    exit_code = 1


class PrunedError(Exception):
    """A job was stopped because it had no hope; the line says which figure was below which."""


def reason_line(error: BaseException) -> str:
    """Say in one line why a run or a job ended: an error of ours as it is, another one with its type.

    Args:
        error: what was raised.
    """
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    own = isinstance(error, PipelineError | PrunedError)
    return (str(error) if own else f"{type(error).__name__}: {error}").splitlines()[0]


def nearest(found: str, accepted: Iterable[str], limit: int = 3) -> str:
    """Name the accepted values closest to what was typed.

    Args:
        found: what was typed.
        accepted: every value that would have worked.
        limit: how many to name at most.

    Returns:
        "did you mean a, b?" when something is close, else "accepted: a, b, c".
    """
    options = sorted(set(accepted))
    close = get_close_matches(found, options, n=limit, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"accepted: {', '.join(options)}."
