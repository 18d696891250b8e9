"""Tell whether a difference between two models on the same texts is more than chance."""

import numpy as np
from scipy.stats import binomtest


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
