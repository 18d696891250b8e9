"""Measure how far a classifier's confidence is from its accuracy."""

import numpy as np
import pandas as pd

from pipeline.inference.classifier import probabilities

BINS = 15  # of confidence, as in Guo et al.


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Compute the expected calibration error of a model, 0 to 1.

    It is the mean distance of confidence and accuracy over bins of equal width, weighted by their
    texts (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv:1706.04599).

    Args:
        logits: logits of each text, (rows, num_labels), float32.
        labels: true label ids, (rows,), int64.
    """
    return calibration_error(calibration_bins(logits, labels))


def calibration_error(bins: pd.DataFrame) -> float:
    """Compute the expected calibration error from bins.

    Args:
        bins: bins of one model, as calibration_bins() returns them.
    """
    distances = (bins["confidence"] - bins["accuracy"]).abs()
    return float((bins["texts"] * distances).sum() / bins["texts"].sum())


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, 0 to BINS - 1, (rows,).

    Args:
        confidence: probability of the predicted class of each text, (rows,).
    """
    return np.minimum((confidence * BINS).astype(int), BINS - 1)


def calibration_bins(logits: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Sort texts into bins by the probability of the predicted class.

    Args:
        logits: logits of each text, (rows, num_labels), float32.
        labels: true label ids, (rows,), int64.

    Returns:
        A row for each bin with texts: low and high (its ends), confidence and accuracy (means over
        its texts) and texts (their number).
    """
    confidence = probabilities(logits).max(-1)
    is_right = logits.argmax(-1) == labels
    bin_of_text = bins_of(confidence)
    rows = []
    for index in np.unique(bin_of_text):
        inside = bin_of_text == index
        rows.append(
            {
                "low": index / BINS,
                "high": (index + 1) / BINS,
                "confidence": confidence[inside].mean(),
                "accuracy": is_right[inside].mean(),
                "texts": int(inside.sum()),
            }
        )
    return pd.DataFrame(rows)
