"""Remember Ctrl-C and SIGTERM, also where a library drops the exception."""

import signal
from types import FrameType

_received = False


def listen() -> None:
    """Raise KeyboardInterrupt on SIGINT and SIGTERM from here on.

    A SIGINT that the caller has set to be ignored stays ignored.
    """
    global _received
    _received = False
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)


def check() -> None:
    """Raise KeyboardInterrupt if a signal came whose exception was dropped.

    Python drops what is raised in a destructor or a weak reference's callback, and libraries have
    bare excepts. Call this between pieces of work.
    """
    if _received:
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _received
    _received = True
    raise KeyboardInterrupt
