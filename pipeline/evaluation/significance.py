"""Whether a difference between two models on the same texts is more than chance."""

import numpy as np
from scipy.stats import binomtest


def mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    """Exact McNemar test: how likely so unequal a share of the rows on which only one is right would be by chance.

    Q. McNemar, Psychometrika 12 (1947); the exact form is a binomial test on the rows on which the two disagree.

    Args:
        one: (rows,) bool: which rows it got right.
        other: the same of the other.

    Returns:
        The two-sided p-value; 1.0 if they never disagree.
    """
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if only_one + only_other == 0:
        return 1.0
    return float(binomtest(only_one, only_one + only_other).pvalue)
