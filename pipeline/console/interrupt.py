"""Remember Ctrl-C and its like, also where a library drops the exception."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

_received = False


def listen() -> None:
    """Raise KeyboardInterrupt on SIGINT, SIGTERM and SIGHUP (a closed terminal) from here on.

    What the caller has set to be ignored stays ignored, as `nohup` does with SIGHUP.
    """
    global _received
    _received = False
    sys.unraisablehook = _leave_to_check
    signal.signal(signal.SIGTERM, _interrupt)
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def check() -> None:
    """Raise KeyboardInterrupt if a signal came whose exception was dropped.

    Python drops what is raised in a destructor or a weak reference's callback, and libraries have
    bare excepts. Call this between pieces of work.
    """
    if _received:
        raise KeyboardInterrupt


@contextlib.contextmanager
def before_errors() -> Iterator[None]:
    """Raise KeyboardInterrupt, if a signal came, instead of what a library has made of it."""
    try:
        yield
    except KeyboardInterrupt:  # with what the command has to say of it
        raise
    except BaseException:
        check()
        raise


def _leave_to_check(dropped: "sys.UnraisableHookArgs") -> None:
    """Print no traceback of an interruption that Python drops; check() raises it again."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _received
    _received = True
    raise KeyboardInterrupt
