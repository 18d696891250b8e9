"""What is more than noise: means over seeds, and differences with confidence intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan, sqrt

import numpy as np
from scipy import stats

from pipeline.config.objectives import gain

CONFIDENCE = 0.95
SEEDS = ("trainer.seed", "trainer.data_seed")
NAMED = ("model", "dataset", "recipe")  # keys whose values speak for themselves
MANY = 4  # values of a key that are compared pair by pair, at most
NOT_A_NUMBER = float("nan")

Choice = Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """Runs of one configuration that differ in their seeds only.

    Args:
        label: what the configuration is, in the keys that differ.
        figure: what was measured.
        values: one for each seed.
    """

    label: str
    figure: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds (n - 1 in the denominator); not a number with one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else NOT_A_NUMBER

    @property
    def line(self) -> str:
        """The group in words."""
        spread = "(one seed)" if isnan(self.spread) else f"± {self.spread:.4f}"
        return f"{self.label}: {self.figure} {self.mean:.4f} {spread}, n = {len(self.values)}"


@dataclass(frozen=True)
class Difference:
    """What one value of a key gains over another, from pairs of runs that are alike in all else, seed included.

    Args:
        key: that differs.
        first, second: its values.
        figure: what was measured.
        mean: of first minus second over the pairs.
        low, high: the confidence interval of the mean (Student's t over the pairs); not a number with one pair.
        pairs: how many there are.
    """

    key: str
    first: str
    second: str
    figure: str
    mean: float
    low: float
    high: float
    pairs: int

    @property
    def line(self) -> str:
        """The difference in words."""
        what = f"{self.key}: {self.first} against {self.second}: {self.figure} {self.mean:+.4f}"
        if isnan(self.low):
            return f"{what} in 1 pair: too little to tell from noise; repeat it with more seeds (trainer.seed=1,2,3)"
        verdict = "within noise" if self.low <= 0 <= self.high else "more than noise"
        return f"{what}, 95 % confidence interval {self.low:+.4f} to {self.high:+.4f} over {self.pairs} pairs: {verdict}"


def groups(choices: Sequence[Choice], values: Sequence[float], figure: str) -> tuple[Group, ...]:
    """Put runs together that differ in their seeds only.

    Args:
        choices: of each run, by key: model, dataset, recipe, and the parameters that differ between runs.
        values: of each run.
        figure: what the values are.

    Returns:
        The groups, the best first; none if no configuration is there twice.
    """
    found: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for choice, value in zip(choices, values, strict=True):
        found.setdefault(_without(choice, *SEEDS), []).append(value)
    if all(len(group) == 1 for group in found.values()):
        return ()
    told = [
        part
        for part in sorted({part for group in found for part in group})
        if any(part not in group for group in found)
    ]

    def label(group: tuple[tuple[str, str], ...]) -> str:
        parts = [part for part in group if part in told] or [
            part for part in group if part[0] == "recipe"
        ]
        return ", ".join(
            value if key in NAMED else f"{key.removeprefix('trainer.')} {value}"
            for key, value in parts
        )

    made = [Group(label(group), figure, tuple(members)) for group, members in found.items()]
    return tuple(sorted(made, key=lambda group: -gain(figure, group.mean)))


def differences(
    choices: Sequence[Choice], values: Sequence[float], figure: str
) -> tuple[Difference, ...]:
    """Compare the values of each key, over pairs of runs that are alike in all else.

    Args:
        choices: as for groups.
        values: of each run.
        figure: what the values are.
    """
    found = []
    keys = sorted(
        {key for choice in choices for key in choice} - {*SEEDS, "dataset"},
        key=lambda key: (key not in NAMED, key),
    )
    for key in keys:
        by_value: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for choice, value in zip(choices, values, strict=True):
            by_value.setdefault(choice[key], {})[_without(choice, key)] = value
        if not 2 <= len(by_value) <= MANY:
            continue
        for first, second in combinations(sorted(by_value), 2):
            alike = by_value[first].keys() & by_value[second].keys()
            if alike:
                gains = [
                    by_value[first][others] - by_value[second][others] for others in sorted(alike)
                ]
                found.append(
                    Difference(key, first, second, figure, *paired_interval(gains), len(gains))
                )
    return tuple(found)


def paired_interval(gains: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and confidence interval of paired differences (Student's t, n - 1 degrees of freedom).

    Args:
        gains: one for each pair.
    """
    mean, pairs = float(np.mean(gains)), len(gains)
    if pairs < 2:
        return mean, NOT_A_NUMBER, NOT_A_NUMBER
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1) * np.std(gains, ddof=1) / sqrt(pairs))
    return mean, mean - half, mean + half


def _without(choice: Choice, *keys: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in choice.items() if key not in keys)
