"""What the variants of a run answered on the test split, looked at from every side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from pipeline.evaluation.metrics import Result
from pipeline.inference.classifier import probabilities

BINS = 15  # of the calibration curve
RANGES = 5  # of text lengths
SHOWN = 20  # mistakes, and disagreements of a pair


def write_model_report(
    folder: Path,
    results: Mapping[str, Result],
    split: datasets.Dataset,
    tokens: datasets.Dataset,
    label_names: Sequence[str],
) -> None:
    """Write per_class.csv, calibration.csv, mistakes.csv, disagreements.csv and accuracy_by_length.csv.

    Args:
        folder: an existing directory.
        results: by variant; fp32 is among them.
        split: the test split with `text`.
        tokens: the same split from data.tokenize, with `labels` and `num_tokens`.
        label_names: classes in the order of their ids.
    """
    texts: Sequence[str] = split["text"]  # a column that is read where it is looked at
    labels, num_tokens = np.asarray(tokens["labels"]), np.asarray(tokens["num_tokens"])
    tables = {
        "per_class": pd.concat(
            [per_class(result, labels, label_names) for result in results.values()]
        ),
        "calibration": pd.concat([calibration(result, labels) for result in results.values()]),
        "mistakes": pd.concat(
            [mistakes(result, texts, labels, label_names) for result in results.values()]
        ),
        "accuracy_by_length": pd.concat(
            [accuracy_by_length(result, labels, num_tokens) for result in results.values()]
        ),
    }
    pairs = [
        (results[one], results[other])
        for one, other in (("fp32", "int8"), ("onnx_fp32", "onnx_int8"))
        if other in results
    ]
    if pairs:
        tables["disagreements"] = pd.concat(
            [
                disagreements(one, other, texts, labels, label_names)
                for one, other in pairs
                if one.variant in results
            ]
        )
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance of confidence and accuracy over bins of equal width, weighted by their texts, 0 to 1.

    (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv:1706.04599; 15 bins as there.)
    """
    return calibration_error(_bins(logits, labels))


def calibration_error(bins: pd.DataFrame) -> float:
    """Return the expected calibration error of one variant's bins, as calibration() gives them."""
    return float(
        (bins["texts"] * (bins["confidence"] - bins["accuracy"]).abs()).sum() / bins["texts"].sum()
    )


def calibration(result: Result, labels: np.ndarray) -> pd.DataFrame:
    """A row a bin with texts: variant, low, high, confidence, accuracy (means), texts."""
    return _bins(result.logits, labels).assign(variant=result.variant)


def per_class(result: Result, labels: np.ndarray, label_names: Sequence[str]) -> pd.DataFrame:
    """A row a class: variant, class, precision, recall, F1, texts (sklearn.metrics)."""
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, result.predictions, labels=np.arange(len(label_names)), zero_division=0.0
    )
    return pd.DataFrame(
        {
            "variant": result.variant,
            "class": list(label_names),
            "precision": precision,
            "recall": recall,
            "F1": f1,
            "texts": support,
        }
    )


def mistakes(
    result: Result, texts: Sequence[str], labels: np.ndarray, label_names: Sequence[str]
) -> pd.DataFrame:
    """The mistakes that the model is most sure of: variant, confidence, label, predicted, text."""
    confidence = probabilities(result.logits).max(-1)
    wrong = np.flatnonzero(result.predictions != labels)
    most = wrong[np.argsort(-confidence[wrong], kind="stable")][:SHOWN]
    names = np.array(label_names, dtype=object)
    return pd.DataFrame(
        {
            "variant": result.variant,
            "confidence": confidence[most],
            "label": names[labels[most]],
            "predicted": names[result.predictions[most]],
            "text": [texts[int(row)] for row in most],
        }
    )


def disagreements(
    one: Result, other: Result, texts: Sequence[str], labels: np.ndarray, label_names: Sequence[str]
) -> pd.DataFrame:
    """The texts that two variants label differently, those first whose probabilities are furthest apart.

    Returns:
        pair, differing (how many there are in all), label, predicted (by each), confidence (of each), text.
    """
    first, second = probabilities(one.logits), probabilities(other.logits)
    rows = np.flatnonzero(one.predictions != other.predictions)
    most = rows[np.argsort(-np.abs(first - second).max(-1)[rows], kind="stable")][:SHOWN]
    names = np.array(label_names, dtype=object)
    return pd.DataFrame(
        {
            "pair": f"{one.variant} and {other.variant}",
            "differing": len(rows),
            "label": names[labels[most]],
            "first": names[one.predictions[most]],
            "first_confidence": first.max(-1)[most],
            "second": names[other.predictions[most]],
            "second_confidence": second.max(-1)[most],
            "text": [texts[int(row)] for row in most],
        }
    )


def accuracy_by_length(result: Result, labels: np.ndarray, num_tokens: np.ndarray) -> pd.DataFrame:
    """Accuracy on ranges of length with about as many texts each: variant, tokens (the range), texts, accuracy."""
    edges = np.unique(np.quantile(num_tokens, np.linspace(0, 1, RANGES + 1)).astype(int))
    right = result.predictions == labels
    places = np.clip(
        np.searchsorted(edges, num_tokens, side="right") - 1, 0, max(0, len(edges) - 2)
    )
    rows = []
    for place in range(max(1, len(edges) - 1)):
        inside = places == place
        if inside.any():
            span = f"{num_tokens[inside].min()} to {num_tokens[inside].max()}"
            rows.append(
                {
                    "variant": result.variant,
                    "tokens": span,
                    "texts": int(inside.sum()),
                    "accuracy": right[inside].mean(),
                }
            )
    return pd.DataFrame(rows)


def _bins(logits: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    confidence = probabilities(logits).max(-1)
    right = logits.argmax(-1) == labels
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = [
        {
            "low": number / BINS,
            "high": (number + 1) / BINS,
            "confidence": confidence[place == number].mean(),
            "accuracy": right[place == number].mean(),
            "texts": int((place == number).sum()),
        }
        for number in np.unique(place)
    ]
    return pd.DataFrame(rows)
