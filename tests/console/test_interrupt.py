import os
import signal

import pytest

from pipeline.console import interrupt

pytestmark = pytest.mark.usefixtures("own_handlers")


class Fragile:
    """An object in whose destructor something happens."""

    def __init__(self, error: type[BaseException] | None = None) -> None:
        self.error = error

    def __del__(self) -> None:
        if self.error is not None:
            raise self.error
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):  # where Python looks for signals
            pass


def test_an_interruption_that_a_destructor_drops_is_raised_by_the_next_check(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fragile = Fragile()
    del fragile
    assert capsys.readouterr().err == ""
    with pytest.raises(KeyboardInterrupt):
        interrupt.check()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_else_a_destructor_raises_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    fragile = Fragile(ZeroDivisionError)
    del fragile
    assert "ZeroDivisionError" in capsys.readouterr().err
