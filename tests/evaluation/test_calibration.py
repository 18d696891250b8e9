import numpy as np
import pytest

from pipeline.evaluation.calibration import calibration_bins, expected_calibration_error

LABELS = np.array([0, 0, 1, 1])


def logits(*yes: float) -> np.ndarray:
    """Logits of a model that gives the second class these probabilities."""
    return np.log(np.stack([1 - np.array(yes), np.array(yes)], axis=1)).astype(np.float32)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (logits(0.9, 0.9, 0.9, 0.9), 0.4),  # 90 % sure, right in half of the texts
        (logits(0.001, 0.001, 0.999, 0.999), 0.001),
        # Two bins: 0.65 sure and right in both, 0.91 sure and wrong in both.
        (logits(0.35, 0.91, 0.65, 0.09), (0.35 + 0.91) / 2),
    ],
)
def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy(
    answers: np.ndarray, error: float
) -> None:
    assert expected_calibration_error(answers, LABELS) == pytest.approx(error, abs=1e-6)


def test_every_text_is_in_one_bin_and_empty_bins_are_left_out() -> None:
    bins = calibration_bins(logits(0.35, 0.91, 0.65, 0.9999), LABELS)
    assert bins["texts"].tolist() == [2, 1, 1]
    assert ((bins["low"] <= bins["confidence"]) & (bins["confidence"] <= bins["high"])).all()
