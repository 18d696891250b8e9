"""The notebook of docs/, executed as it stands but for its inputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.processes import PATIENCE_S
from tests.e2e.stored import runs

DOCS = Path(__file__).parents[2] / "docs"
PARAMETERS = "parameters"  # tag of the cell with the inputs


def test_the_notebook_trains_compares_and_classifies(
    micro: list[str], store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.read(DOCS / "article.ipynb", as_version=4)
    (inputs,) = [cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", [])]
    typed = [item for item in micro if item != "export=none"]
    inputs.source = f"INPUTS = {[*typed, 'export=onnx', 'export.max_accuracy_loss=1']!r}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    where = {"metadata": {"path": str(DOCS)}}
    NotebookClient(notebook, timeout=int(PATIENCE_S), resources=where).execute()
    assert [run.data.params["qat.name"] for run in runs(store)] == [
        "finetune_then_qat",
        "ptq_dynamic",
    ]
    printed = "".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert "did you mean direct?" in printed
    assert "phase qat" in printed, "the log is shown"
    assert "Linear" in printed, "the Mixed Precision Statistics"
