"""Write tables of what each variant of a run predicts on the test split, and where it fails."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from pipeline.console.csv_tables import write_csv
from pipeline.data.tokens import LABELS, NUM_TOKENS, integers
from pipeline.evaluation.calibration import calibration_bins
from pipeline.evaluation.results import Result
from pipeline.inference.classifier import probabilities
from pipeline.names import (
    ACCURACY_BY_LENGTH_TABLE,
    CALIBRATION_TABLE,
    DISAGREEMENTS_TABLE,
    FP32,
    INT8,
    MISTAKES_TABLE,
    ONNX_FP32,
    ONNX_INT8,
    PER_CLASS_TABLE,
)

LENGTH_RANGES = 5
LISTED_TEXTS = 20  # mistakes of a variant, and disagreements of a pair
COMPARED_VARIANTS = ((FP32, INT8), (ONNX_FP32, ONNX_INT8))
PAIR_JOINT = " and "  # between the variants of a pair


def write_model_report(
    folder: Path,
    results: Mapping[str, Result],
    split: datasets.Dataset,
    tokens: datasets.Dataset,
    label_names: Sequence[str],
) -> None:
    """Write the tables that look into predictions.

    These are per_class.csv, calibration.csv, mistakes.csv and accuracy_by_length.csv, and
    disagreements.csv if a pair of COMPARED_VARIANTS is there.

    Args:
        folder: existing directory to write to.
        results: result of each variant by its name.
        split: test split, for its texts.
        tokens: tokens of the test split, for its labels and lengths.
        label_names: classes in the order of their ids.
    """
    texts: Sequence[str] = split["text"]  # a column, from which a text is read when it is needed
    labels, num_tokens = integers(tokens, LABELS), integers(tokens, NUM_TOKENS)
    variants = results.values()
    tables = {
        PER_CLASS_TABLE: [per_class(result, labels, label_names) for result in variants],
        CALIBRATION_TABLE: [calibration(result, labels) for result in variants],
        MISTAKES_TABLE: [mistakes(result, texts, labels, label_names) for result in variants],
        ACCURACY_BY_LENGTH_TABLE: [
            accuracy_by_length(result, labels, num_tokens) for result in variants
        ],
        DISAGREEMENTS_TABLE: [
            disagreements(results[first], results[second], texts, labels, label_names)
            for first, second in COMPARED_VARIANTS
            if first in results and second in results
        ],
    }
    for file_name, parts in tables.items():
        if parts:
            write_csv(pd.concat(parts), folder / file_name)


def calibration(result: Result, labels: np.ndarray) -> pd.DataFrame:
    """Sort the texts of a variant into bins by its confidence.

    Args:
        result: result of the variant.
        labels: true label ids, (rows,), int64.

    Returns:
        A row for each bin with texts: low, high, confidence, accuracy, texts (see
        calibration_bins) and variant.
    """
    return calibration_bins(result.logits, labels).assign(variant=result.variant)


def per_class(result: Result, labels: np.ndarray, label_names: Sequence[str]) -> pd.DataFrame:
    """Compute precision, recall and F1 of each class with scikit-learn.

    Args:
        result: result of the variant.
        labels: true label ids, (rows,), int64.
        label_names: classes in the order of their ids.

    Returns:
        A row for each class: variant, class, precision, recall, F1 and texts (their number).
    """
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
    """List the mistakes that a variant is most sure of.

    Args:
        result: result of the variant.
        texts: texts of the test split.
        labels: true label ids, (rows,), int64.
        label_names: classes in the order of their ids.

    Returns:
        A row for each of at most LISTED_TEXTS mistakes, the surest first: variant, confidence,
        label, predicted and text.
    """
    confidence = probabilities(result.logits).max(-1)
    wrong = np.flatnonzero(result.predictions != labels)
    rows = wrong[np.argsort(-confidence[wrong], kind="stable")][:LISTED_TEXTS]
    names = np.array(label_names, dtype=object)
    return pd.DataFrame(
        {
            "variant": result.variant,
            "confidence": confidence[rows],
            "label": names[labels[rows]],
            "predicted": names[result.predictions[rows]],
            "text": [texts[int(row)] for row in rows],
        }
    )


def disagreements(
    first: Result,
    second: Result,
    texts: Sequence[str],
    labels: np.ndarray,
    label_names: Sequence[str],
) -> pd.DataFrame:
    """List the texts that two variants label differently.

    Args:
        first: result of one variant.
        second: result of the other variant.
        texts: texts of the test split.
        labels: true label ids, (rows,), int64.
        label_names: classes in the order of their ids.

    Returns:
        A row for each of at most LISTED_TEXTS texts, that with the largest difference between two
        probabilities first: pair, differing (how many such texts there are in all), label, the
        prediction and confidence of each variant (first, first_confidence, second,
        second_confidence) and text.
    """
    first_scores, second_scores = probabilities(first.logits), probabilities(second.logits)
    differing = np.flatnonzero(first.predictions != second.predictions)
    distances = np.abs(first_scores - second_scores).max(-1)[differing]
    rows = differing[np.argsort(-distances, kind="stable")][:LISTED_TEXTS]
    names = np.array(label_names, dtype=object)
    return pd.DataFrame(
        {
            "pair": f"{first.variant}{PAIR_JOINT}{second.variant}",
            "differing": len(differing),
            "label": names[labels[rows]],
            "first": names[first.predictions[rows]],
            "first_confidence": first_scores.max(-1)[rows],
            "second": names[second.predictions[rows]],
            "second_confidence": second_scores.max(-1)[rows],
            "text": [texts[int(row)] for row in rows],
        }
    )


def accuracy_by_length(result: Result, labels: np.ndarray, num_tokens: np.ndarray) -> pd.DataFrame:
    """Compute the accuracy on ranges of text length with about as many texts each.

    Args:
        result: result of the variant.
        labels: true label ids, (rows,), int64.
        num_tokens: tokens of each text before the cut, (rows,), int64.

    Returns:
        A row for each range, the shortest first: variant, tokens ("3 to 12"), texts (their number)
        and accuracy.
    """
    edges = np.unique(np.quantile(num_tokens, np.linspace(0, 1, LENGTH_RANGES + 1)).astype(int))
    last_range = max(0, len(edges) - 2)
    range_of_text = np.clip(np.searchsorted(edges, num_tokens, side="right") - 1, 0, last_range)
    is_right = result.predictions == labels
    rows = []
    for index in range(last_range + 1):
        inside = range_of_text == index
        if inside.any():
            rows.append(
                {
                    "variant": result.variant,
                    "tokens": f"{num_tokens[inside].min()} to {num_tokens[inside].max()}",
                    "texts": int(inside.sum()),
                    "accuracy": is_right[inside].mean(),
                }
            )
    return pd.DataFrame(rows)
