from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.evaluation.agreement import check_export, check_reload, disagreement
from pipeline.evaluation.results import Answers, Result, result_of
from pipeline.models.artifact import Artifact

LABELS = np.array([0, 1] * 50)


def test_equal_logits_pass() -> None:
    logits = np.array([[0.1, 0.9], [0.8, 0.2]], dtype=np.float32)
    assert check_reload("int8", logits, logits) == 0.0


@pytest.mark.parametrize(
    ("reloaded", "reason"),
    [
        ([[0.9, 0.1], [0.8, 0.2]], "1 of 2 predicted labels differ"),
        ([[0.1, 0.95], [0.8, 0.2]], "0 of 2 predicted labels differ, logits by up to 0.05"),
        ([[0.1, 0.9], [np.nan, 0.2]], "the reloaded int8 model is not the one that was trained"),
    ],
)
def test_a_reload_that_differs_is_refused(reloaded: list[list[float]], reason: str) -> None:
    logits = np.array([[0.1, 0.9], [0.8, 0.2]], dtype=np.float32)
    with pytest.raises(PipelineError, match=reason):
        check_reload("int8", logits, np.array(reloaded, dtype=np.float32))


def logits(wrong: int) -> np.ndarray:
    """Answer wrongly on the last rows."""
    predictions = LABELS.copy()
    predictions[len(LABELS) - wrong :] = 1 - predictions[len(LABELS) - wrong :]
    return np.eye(2, dtype=np.float32)[predictions]


def result(variant: str, wrong: int, wrong_on_test: int = 0) -> Result:
    test, validation = (Answers(logits(count), LABELS) for count in (wrong_on_test, wrong))
    return result_of(Artifact(variant, Path(variant)), test, validation)


def test_an_export_may_lose_a_little_accuracy_and_gain_any() -> None:
    trained = result("int8", wrong=10)
    check_export(result("onnx_int8", wrong=0), trained, LABELS, 0.0)
    worse = result("onnx_int8", wrong=22)
    check_export(worse, trained, LABELS, 0.12)
    with pytest.raises(
        PipelineError,
        match=r"onnx_int8 has a validation accuracy of 0.7800, 0.1200 below int8 \(0.9000\), "
        r"which chance does not explain \(p = 0.00049\); 12.00% of",
    ):
        check_export(worse, trained, LABELS, 0.05)


def test_a_loss_that_chance_explains_fails_no_run() -> None:
    # Ten rows lost and none won: as likely as 1 in 512. Eleven are 1 in 1,024.
    trained = result("int8", wrong=10)
    check_export(result("onnx_int8", wrong=20), trained, LABELS, 0.0)
    with pytest.raises(PipelineError, match=r"p = 0.00098"):
        check_export(result("onnx_int8", wrong=21), trained, LABELS, 0.0)


def test_the_test_split_decides_nothing() -> None:
    check_export(result("onnx_int8", 10, wrong_on_test=90), result("int8", 10), LABELS, 0.0)


def test_disagreement_is_measured_on_the_test_split() -> None:
    assert disagreement(result("onnx_int8", 50, 15), result("int8", 0, 10)) == pytest.approx(0.05)
