"""Predict with and serve a model that version 0.1.0 logged, before pipeline/ had rooms."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from pipeline import predict
from pipeline.tracking.locate_model import model_directory

MODEL = Path(__file__).with_name("model_of_0_1_0")
ROOT = Path(__file__).parents[2]
# What 0.1.0 answered on a CPU without VNNI, whose sums of INT8 products saturate: a CPU with VNNI
# answers up to 0.033 away.
SCORES = {
    "snow and ice": {"cold": 0.4746, "hot": 0.0565, "wet": 0.4689},
    "the sun was full of fire": {"cold": 0.0946, "hot": 0.8041, "wet": 0.1013},
}
TOLERANCE = 0.05


@pytest.mark.parametrize("directory", [MODEL, model_directory(str(MODEL))], ids=["mlflow", "onnx"])
def test_it_is_predicted_with(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, scores in SCORES.items():
        assert predict.main(["--model", str(directory), "--scores", text]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["scores"] == pytest.approx(scores, abs=TOLERANCE)


def test_mlflow_loads_it_with_the_code_that_it_brings() -> None:
    # A process of its own: loading puts the model's code folder on sys.path.
    program = (
        "import json, sys, mlflow\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(json.dumps([model.predict([text])[0] for text in json.loads(sys.argv[2])]))\n"
    )
    served = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(MODEL), json.dumps(list(SCORES))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [answer["scores"] for answer in json.loads(served.stdout)]
    for answer, scores in zip(answers, SCORES.values(), strict=True):
        assert answer == pytest.approx(scores, abs=TOLERANCE)


def test_its_code_imports_what_the_shim_keeps() -> None:
    code = (MODEL / "served.py").read_text(encoding="utf-8")
    assert "from pipeline.runtime import TextClassifier, check_text, probabilities" in code
    assert mlflow.models.Model.load(str(MODEL)).metadata["variant"] == "onnx_int8"
