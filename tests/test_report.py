"""python -m pipeline.report on a made-up run; tests/e2e/test_report.py has a real one."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline import report


@pytest.fixture
def run_id(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = MlflowClient(store)
    experiment = client.create_experiment("runs", (tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment, run_name="made up")
    client.log_text(run.info.run_id, "{}", "config/config.yaml")
    client.log_text(run.info.run_id, "model,accuracy", "reports/none.csv")
    return run.info.run_id


def test_a_page_that_cannot_be_written_is_no_fault_of_the_store(
    run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "page.html"
    assert report.main([run_id, "--output", str(file)]) == 0
    assert "made up" in file.read_text()
    capsys.readouterr()
    file = tmp_path / "missing" / "page.html"
    assert report.main([run_id, "--output", str(file)]) == 2
    line = f"error: {file} cannot be written: No such file or directory.\n"
    assert capsys.readouterr() == ("", line)
