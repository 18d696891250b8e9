import errno
import os
from types import SimpleNamespace

import pytest

from pipeline.console.disk import disk_errors
from pipeline.errors import PipelineError


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        ValueError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line(error: Exception) -> None:
    with (
        pytest.raises(PipelineError, match="a disk is full, perhaps that of ") as caught,
        disk_errors(),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_an_error_on_a_full_disk_is_taken_to_come_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(PipelineError, match="a disk is full, .*: RuntimeError: pos"), disk_errors():
        raise RuntimeError("pos")
    with pytest.raises(PipelineError, match="^its own line$"), disk_errors():
        raise PipelineError("its own line")


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="^pos$"), disk_errors():
        raise RuntimeError("pos")
