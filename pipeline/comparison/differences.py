"""Tell gains from noise: means over seeds, and differences with confidence intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan, nan, sqrt

import numpy as np
from scipy import stats

from pipeline.config.objectives import gain

CONFIDENCE = 0.95
SEED_KEYS = ("trainer.seed", "trainer.data_seed")
DATASET = "dataset"
RECIPE = "recipe"
IDENTITY = ("model", DATASET, RECIPE)  # keys whose values are shown without the key
MAX_VALUES = 4  # of one key; more than that are not compared pair by pair

Choice = Mapping[str, str]
"""Model, dataset, recipe and the differing parameters of a run, by key."""

Setting = tuple[tuple[str, str], ...]
"""Keys of a choice with their values, in the order of the choice."""


@dataclass(frozen=True)
class Group:
    """Runs of one configuration that differ in their seeds only.

    Args:
        label: name of the configuration, made of the values that tell it from the other groups.
        figure: name of the figure that was measured.
        values: the figure of each run; there is one run for each seed.
    """

    label: str
    figure: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Return the mean over the seeds."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Return the standard deviation over the seeds (n - 1 degrees of freedom), NaN for one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else nan

    @property
    def line(self) -> str:
        """Describe the group in one line."""
        spread = "(one seed)" if isnan(self.spread) else f"± {self.spread:.4f}"
        return f"{self.label}: {self.figure} {self.mean:.4f} {spread}, n = {len(self.values)}"


@dataclass(frozen=True)
class Difference:
    """What one value of a key gains over another, measured on pairs of runs.

    The two runs of a pair are alike in all other keys, the seed included.

    Args:
        key: the key whose values are compared.
        first: the value that may gain.
        second: the value that it is compared with.
        figure: name of the figure that was measured.
        mean: mean over the pairs of the figure with the first value minus that with the second.
        low: lower end of the mean's confidence interval (Student's t over the pairs); NaN for one
            pair.
        high: upper end of that interval; NaN for one pair.
        pairs: number of pairs.
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
        """Describe the difference in one line."""
        gained = f"{self.key}: {self.first} against {self.second}: {self.figure} {self.mean:+.4f}"
        if isnan(self.low):
            return (
                f"{gained} in 1 pair: too little to tell from noise; "
                "repeat it with more seeds (trainer.seed=1,2,3)"
            )
        verdict = "within noise" if self.low <= 0 <= self.high else "more than noise"
        return (
            f"{gained}, 95 % confidence interval {self.low:+.4f} to {self.high:+.4f} "
            f"over {self.pairs} pairs: {verdict}"
        )


def groups(choices: Sequence[Choice], values: Sequence[float], figure: str) -> tuple[Group, ...]:
    """Put runs together that differ in their seeds only.

    Args:
        choices: model, dataset, recipe and differing parameters of each run, by key.
        values: the figure of each run.
        figure: name of the figure.

    Returns:
        The groups, the best first; none if no configuration was run with two seeds.
    """
    values_by_setting: dict[Setting, list[float]] = {}
    for choice, value in zip(choices, values, strict=True):
        values_by_setting.setdefault(_without(choice, *SEED_KEYS), []).append(value)
    if all(len(members) == 1 for members in values_by_setting.values()):
        return ()
    everywhere = set.intersection(*map(set, values_by_setting))
    grouped = [
        Group(_label(setting, everywhere), figure, tuple(members))
        for setting, members in values_by_setting.items()
    ]
    return tuple(sorted(grouped, key=lambda group: -gain(figure, group.mean)))


def differences(
    choices: Sequence[Choice], values: Sequence[float], figure: str
) -> tuple[Difference, ...]:
    """Compare the values of each key, over pairs of runs that are alike in all other keys.

    Args:
        choices: model, dataset, recipe and differing parameters of each run, by key.
        values: the figure of each run.
        figure: name of the figure.

    Returns:
        A difference for each two values of a key that share a pair of runs: model first, recipe
        next, then the parameters by name. Datasets are not compared with each other.
    """
    keys = sorted(
        {key for choice in choices for key in choice} - {*SEED_KEYS, DATASET},
        key=lambda key: (key not in IDENTITY, key),
    )
    compared = []
    for key in keys:
        by_value: dict[str, dict[Setting, float]] = {}
        for choice, value in zip(choices, values, strict=True):
            by_value.setdefault(choice[key], {})[_without(choice, key)] = value
        if len(by_value) > MAX_VALUES:
            continue
        for first, second in combinations(sorted(by_value), 2):
            alike = sorted(by_value[first].keys() & by_value[second].keys())
            if alike:
                gains = [by_value[first][other] - by_value[second][other] for other in alike]
                mean, low, high = paired_interval(gains)
                compared.append(
                    Difference(key, first, second, figure, mean, low, high, pairs=len(gains))
                )
    return tuple(compared)


def paired_interval(gains: Sequence[float]) -> tuple[float, float, float]:
    """Compute the mean of paired differences and its confidence interval.

    Args:
        gains: the difference of each pair.

    Returns:
        The mean, and both ends of its interval of Student's t with n - 1 degrees of freedom; the
        ends are NaN for one pair.
    """
    mean, pairs = float(np.mean(gains)), len(gains)
    if pairs < 2:
        return mean, nan, nan
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1) * np.std(gains, ddof=1) / sqrt(pairs))
    return mean, mean - half, mean + half


def _without(choice: Choice, *keys: str) -> Setting:
    return tuple((key, value) for key, value in choice.items() if key not in keys)


def _label(setting: Setting, everywhere: set[tuple[str, str]]) -> str:
    """Name a configuration by what it does not share with all others, or else by its recipe."""
    parts = [part for part in setting if part not in everywhere]
    parts = parts or [part for part in setting if part[0] == RECIPE]
    return ", ".join(
        value if key in IDENTITY else f"{key.removeprefix('trainer.')} {value}"
        for key, value in parts
    )
