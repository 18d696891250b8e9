"""Compute how far a figure of a split may be from its value on all texts of the kind.

The unit of replication is the text: the intervals say nothing of other seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import binomtest

from pipeline.evaluation.calibration import bins_of
from pipeline.inference.classifier import probabilities

CONFIDENCE = 0.95
RESAMPLES = 1000
SEED = 0  # of the bootstrap, so that a figure's interval is the same when it is computed again


@dataclass(frozen=True)
class Interval:
    """A confidence interval: low and high, in the figure's unit."""

    low: float
    high: float


def accuracy_interval(right: int, rows: int, confidence: float = CONFIDENCE) -> Interval:
    """Compute Wilson's score interval of an accuracy.

    E. B. Wilson, Journal of the American Statistical Association 22 (1927)
    (scipy.stats.binomtest).

    Args:
        right: texts that the model got right.
        rows: texts of the split, at least 1.
        confidence: level of the interval, between 0 and 1.
    """
    found = binomtest(right, rows).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def accuracy_difference_interval(
    first_right: np.ndarray, second_right: np.ndarray, confidence: float = CONFIDENCE
) -> Interval:
    """Compute the interval of the difference in accuracy of two models on the same texts.

    Method 10 of R. G. Newcombe, Statistics in Medicine 17 (1998), 2635-2650: Wilson's intervals of
    both accuracies, joined by the correlation of the answers. It has a width if the models never
    differ, unlike Wald's.

    Args:
        first_right: whether the first model is right, (rows,) bool.
        second_right: whether the second model is right, (rows,) bool.
        confidence: level of the interval, between 0 and 1.

    Returns:
        The interval of the first accuracy minus the second.
    """
    rows = len(first_right)
    first, second = float(first_right.mean()), float(second_right.mean())
    of_first = accuracy_interval(int(first_right.sum()), rows, confidence)
    of_second = accuracy_interval(int(second_right.sum()), rows, confidence)
    correlation = _correlation(first_right, second_right)

    def distance(one: float, other: float) -> float:
        return sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    return Interval(
        first - second - distance(first - of_first.low, of_second.high - second),
        first - second + distance(of_first.high - first, second - of_second.low),
    )


def _correlation(first_right: np.ndarray, second_right: np.ndarray) -> float:
    """Compute the phi coefficient, corrected for continuity if it is positive, as Newcombe does."""
    both = int((first_right & second_right).sum())
    neither = int((~first_right & ~second_right).sum())
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    margins = (
        (both + only_first)
        * (only_second + neither)
        * (both + only_second)
        * (only_first + neither)
    )
    if margins == 0:
        return 0.0
    product = both * neither - only_first * only_second
    corrected = product if product < 0 else max(0.0, product - len(first_right) / 2)
    return corrected / sqrt(margins)


def f1_interval(confusion: np.ndarray) -> Interval:
    """Compute the interval of macro F1: what the bootstrap and Wilson's intervals hold together.

    The bootstrap alone has no width if every text is right, and Wilson's intervals of many small
    classes lie too low. Of 100 to 200 simulated splits at each of six shapes (60 texts of 2 classes
    to 4,500 of 150), the bootstrap held macro F1 in 66 to 98 %, and both together in 96 to 100 %.

    Args:
        confusion: counts (num_labels, num_labels); rows are true labels, columns predicted ones.
    """
    true, predicted = np.nonzero(confusion)
    counts = confusion[true, predicted]
    rows, num_labels = int(counts.sum()), len(confusion)

    def macro_f1(cells: np.ndarray) -> float:
        support = np.bincount(true, cells, num_labels)
        right = np.bincount(true, cells * (true == predicted), num_labels)
        answers = np.bincount(predicted, cells, num_labels)
        occurs = support > 0
        return float((2 * right[occurs] / (support + answers)[occurs]).mean())

    def resampled(random: np.random.Generator) -> float:
        # Macro F1 depends on the confusion matrix alone: texts drawn with replacement are counts
        # drawn from its cells.
        return macro_f1(random.multinomial(rows, counts / rows))

    estimate = macro_f1(counts)
    return _hull(estimate, _bootstrap(estimate, resampled), _f1_by_class(confusion))


def _f1_by_class(confusion: np.ndarray) -> Interval:
    """Join Wilson's intervals of the classes to one of macro F1.

    A class has the F1 2j / (1 + j), where j is the share of right texts among those that are of the
    class or taken for it. The distances to the ends of its intervals are joined as in G. Y. Zou and
    A. Donner, Statistics in Medicine 27 (2008), 1693-1702; their squares are doubled, because each
    mistake is one of two classes.
    """
    right = np.diag(confusion).astype(float)
    support = confusion.sum(axis=1)
    occurs = support > 0
    concerned = (support + confusion.sum(axis=0) - right)[occurs]
    found = [
        accuracy_interval(int(hits), int(texts))
        for hits, texts in zip(right[occurs], concerned, strict=True)
    ]

    def f1(shares: np.ndarray) -> np.ndarray:
        return 2 * shares / (1 + shares)

    by_class = f1(right[occurs] / concerned)
    below = by_class - f1(np.array([interval.low for interval in found]))
    above = f1(np.array([interval.high for interval in found])) - by_class
    mean, count = float(by_class.mean()), len(by_class)
    return Interval(
        mean - sqrt(2 * float((below**2).sum())) / count,
        mean + sqrt(2 * float((above**2).sum())) / count,
    )


def ece_interval(logits: np.ndarray, labels: np.ndarray) -> Interval:
    """Compute the interval of the expected calibration error.

    It holds what the bootstrap holds, and the distance of the mean confidence to Wilson's interval
    of the accuracy, which is the error if all texts lie in one bin. Of 60 simulated splits at each
    of seven shapes, the bootstrap held the error in 55 to 92 % (fewest of calibrated models), and
    both together in 95 to 100 %.

    Args:
        logits: logits of each text, (rows, num_labels), float32.
        labels: true label ids, (rows,), int64.
    """
    confidence = probabilities(logits).max(-1)
    right = logits.argmax(-1) == labels
    distances = confidence - right
    bins, rows = bins_of(confidence), len(labels)

    def error(chosen: np.ndarray) -> float:
        return float(np.abs(np.bincount(bins[chosen], distances[chosen])).sum() / rows)

    def resampled(random: np.random.Generator) -> float:
        return error(random.integers(0, rows, rows))

    accuracy, mean = accuracy_interval(int(right.sum()), rows), float(confidence.mean())
    nearest = min(max(mean, accuracy.low), accuracy.high)
    farthest = max(mean - accuracy.low, accuracy.high - mean)
    overall = Interval(abs(mean - nearest), farthest)
    estimate = error(np.arange(rows))
    return _hull(estimate, _bootstrap(estimate, resampled), overall)


def _hull(estimate: float, *intervals: Interval) -> Interval:
    """Return the smallest interval of a share that holds others and the estimate."""
    return Interval(
        max(0.0, min(estimate, *(interval.low for interval in intervals))),
        min(1.0, max(estimate, *(interval.high for interval in intervals))),
    )


def _bootstrap(estimate: float, resampled: Callable[[np.random.Generator], float]) -> Interval:
    """Compute the basic bootstrap interval.

    Davison and Hinkley, Bootstrap Methods and their Application (1997), section 5.2. Unlike that of
    percentiles, it takes off the bias that a resample adds. Of 200 simulated splits of 500 texts
    whose error was 0.018, percentiles held the error 113 times and this 182 times; of 300 of 1,000
    texts and 50 classes, percentiles held macro F1 263 times and this 281 times.
    """
    random = np.random.default_rng(SEED)
    values = [resampled(random) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(2 * estimate - high), float(2 * estimate - low))
