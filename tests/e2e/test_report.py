"""The report of a run: logged with it, built again from it, and looked at in headless Chromium."""

import html
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from pipeline import report
from tests.conftest import Output
from tests.e2e.conftest import Deployed
from tests.e2e.processes import PATIENCE_S

Command = Callable[..., Output]
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
HEADINGS = (
    "The corpus",
    "Examples of each class",
    "Confusion matrices",
    "Precision, recall and F1",
    "Calibration",
    "Accuracy by length of text",
    "The mistakes that openvino_int8 is most sure of",
    "Mixed Precision Statistics",
    "Quantization error by module",
    "What it costs",
)
# Titles of axes and charts are text in the SVG: what a reader sees is what is looked for.
SHOWN = (
    "share of the split (%)",
    "tokens per text",
    "predicted class",
    "confidence (probability of the predicted class)",
    "relative error",
    "p50 latency (ms, log scale)",
)


@pytest.mark.usefixtures("own_store")
def test_a_run_has_its_report_and_it_can_be_built_again(
    deployed: Deployed, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, reports = tmp_path / "again.html", deployed.artifacts / "reports"
    assert report.main([deployed.run.info.run_id, "--output", str(file)]) == 0
    assert capfd.readouterr().out == f"{file}\n"
    assert file.read_text() == (reports / "report.html").read_text()

    text = html.unescape(file.read_text())
    for heading in HEADINGS:
        assert heading in text
    assert not [tag for tag in ("<script", "<link", 'src="http', "@import", "{{") if tag in text], (
        "it opens offline"
    )
    layers = pd.read_csv(reports / "layers.csv")
    assert len(layers) == 22
    assert (layers.query("precision == 'INT8'")["weight_error"] < 0.05).all()
    assert 0 <= deployed.run.data.metrics["onnx_int8/ece"] <= 1

    with pytest.raises(SystemExit):
        report.main([])
    assert report.main(["0" * 32]) == 2
    assert "is not in sqlite" in capfd.readouterr().err


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_renders_in_a_browser(deployed: Deployed, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            str(CHROMIUM),
            *(
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--virtual-time-budget=3000",
                "--dump-dom",
            ),
            f"--user-data-dir={tmp_path / 'profile'}",
            (deployed.artifacts / "reports" / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    seen = html.unescape(done.stdout)
    assert seen.count("</svg>") == 11, (
        "corpus, six confusion matrices, calibration, lengths, modules, cost"
    )
    for shown in SHOWN:
        assert shown in seen


def test_a_run_that_failed_has_no_report_and_says_so(
    command: Command,
    micro: list[str],
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    command(*micro, "dataset.max_length=65")  # more than the tokenizer takes
    client = MlflowClient(store)
    (failed,) = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()]
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    capfd.readouterr()
    assert report.main([failed.info.run_id]) == 2
    assert f"run {failed.info.run_id} (FAILED) has no reports" in capfd.readouterr().err
