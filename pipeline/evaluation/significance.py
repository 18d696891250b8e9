"""Tell whether a difference between two models on the same texts is more than chance."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest

if TYPE_CHECKING:
    from pipeline.evaluation.results import Result

SIGNIFICANCE = 0.05  # below which a difference is more than chance


@dataclass(frozen=True)
class Verdict:
    """Whether a model is better than another by more than chance.

    Args:
        is_better: whether it is.
        line: the same with the figures.
    """

    is_better: bool
    line: str


def beats_baseline(shipped: "Result", linear: "Result", labels: np.ndarray) -> Verdict:
    """Compare the shipped model with the linear one on the validation split, by McNemar's test.

    Args:
        shipped: result of the shipped model.
        linear: result of the linear model.
        labels: true label ids of the validation split, (rows,), int64.
    """
    right, linear_right = (result.validation_predictions == labels for result in (shipped, linear))
    p_value = mcnemar(right, linear_right)
    is_better = bool(right.mean() > linear_right.mean()) and p_value < SIGNIFICANCE
    figures = (
        f"validation accuracy {right.mean():.4f} against {linear_right.mean():.4f} of the linear "
        f"model, McNemar's p {p_value:.2g}"
    )
    return Verdict(is_better, f"{'beaten' if is_better else 'not beaten'}: {figures}")


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> float:
    """Run McNemar's exact test on the rows that only one of two models gets right.

    Q. McNemar, Psychometrika 12 (1947); the exact form is a binomial test on those rows.

    Args:
        first_right: whether the first model is right, (rows,) bool.
        second_right: whether the second model is right, (rows,) bool.

    Returns:
        The two-sided p-value: how likely so unequal a share would be by chance. 1.0 if the models
        are never right alone.
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)
