from pathlib import Path

import pytest

from pipeline import server
from pipeline.errors import PipelineError
from pipeline.tracking import postgresql
from pipeline.tracking.postgresql import PostgreSQL


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without PostgreSQL."""
    monkeypatch.setattr(postgresql, "DEBIAN_FOLDER", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI", raising=False)


@pytest.mark.usefixtures("nowhere")
def test_without_postgresql_one_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "server"
    assert server.main(["--port", "0", "--folder", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "PostgreSQL is not installed: apt install postgresql" in line
    assert not folder.exists(), "nothing is left"


@pytest.mark.usefixtures("nowhere")
def test_data_of_a_version_that_is_not_installed_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgresql/data").mkdir(parents=True)
    (tmp_path / "postgresql/data/PG_VERSION").write_text("9\n")
    with pytest.raises(PipelineError, match="of PostgreSQL 9, which is not installed"):
        PostgreSQL(tmp_path / "postgresql").start()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("running ...\ninitdb: error: no room\ninitdb: removing data", "initdb: error: no room"),
        ("LOG: a\n2026 [7] FATAL: lock file exists\nHINT: b", "2026 [7] FATAL: lock file exists"),
        ("could not start server\n", "could not start server"),
        ("", "it does not say why"),
    ],
)
def test_of_what_postgresql_says_the_reason_is_told(said: str, reason: str) -> None:
    assert postgresql._reason(said) == reason
