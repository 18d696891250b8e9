"""Ctrl-C and SIGTERM, remembered: code that loses the exception does not lose the interrupt."""

import signal
from types import FrameType

_received = False


def listen() -> None:
    """Raise KeyboardInterrupt on SIGINT and SIGTERM from here on; a SIGINT that the caller has set to be ignored stays so."""
    global _received
    _received = False
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)


def check() -> None:
    """Raise KeyboardInterrupt if a signal came whose exception got lost.

    Python drops what is raised in a destructor or a weak reference's callback, and libraries have bare excepts. Call this
    between pieces of work.
    """
    if _received:
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _received
    _received = True
    raise KeyboardInterrupt
