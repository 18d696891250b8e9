from pathlib import Path

import pytest

from pipeline.server import main
from pipeline.tracking.store import SERVED_VARIABLE


@pytest.mark.usefixtures("own_handlers")
@pytest.mark.parametrize("folder", ["file", "file/folder", "/proc/folder"])
def test_a_folder_that_cannot_be_made_is_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: str,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(SERVED_VARIABLE, f"sqlite:///{tmp_path / 'never.db'}")
    assert main(["--port", "0", "--folder", str(tmp_path / folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --folder {tmp_path / folder} cannot be used: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "never.db").exists()
