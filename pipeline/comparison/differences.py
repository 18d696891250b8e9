"""Tell gains from noise: means over seeds, and paired differences with a test."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import isnan, nan, sqrt

import numpy as np
from scipy import stats

from pipeline.config.identity import SAVING_KEYS
from pipeline.config.objectives import gain
from pipeline.config.ranges import ROUNDING

CONFIDENCE = 0.95
SEED_KEYS = ("trainer.seed", "trainer.data_seed")
DATASET = "dataset"
DATA = "data"  # digests of validation and test: what runs were measured on
RECIPE = "recipe"
IDENTITY = ("model", DATASET, RECIPE)  # keys whose values are shown without the key
# Groups of parameters that a recipe's name tells of; a run without them has none of their keys.
RECIPE_GROUPS = ("distillation", "pruning")
# Keys outside of such a group that follow from it: a pruned run ends with its last step, whose
# weights have the most zeros, so it chooses no checkpoint and need not save any.
SET_BY_GROUP = {
    "pruning": (
        "trainer.load_best_model_at_end",
        *(f"trainer.{key}" for key in SAVING_KEYS),
    )
}
MAX_VALUES = 4  # of one key; more than that are not compared pair by pair
MIN_SEEDS = 3  # fewer give no verdict

Choice = Mapping[str, str]
"""Model, dataset, data, recipe and the differing parameters of a run, by key."""

Setting = tuple[tuple[str, str], ...]
"""Keys of a choice with their values, in the order of the choice."""


@dataclass(frozen=True)
class Group:
    """Runs of one configuration that differ in their seeds only.

    Args:
        label: name of the configuration, made of the values that tell it from the other groups.
        figure: name of the figure that was measured.
        values: the figure of each seed; the mean of its runs, if it was run again.
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
    """What one value of a key gains over another, measured on pairs of runs and over seeds.

    The two runs of a pair are alike in all other keys, the seed included. Pairs that share a seed
    share its luck and repeat nothing, so a seed counts once, with the mean gain of its pairs.

    Args:
        key: the key whose values are compared.
        first: the value that may gain.
        second: the value that it is compared with.
        figure: name of the figure that was measured.
        mean: mean over the seeds of the figure with the first value minus that with the second.
        low: lower end of the mean's confidence interval (Student's t over the seeds), for this
            difference by itself; NaN for one seed.
        high: upper end of that interval; NaN for one seed.
        seeds: number of seeds that have a pair.
        pairs: number of pairs, of all seeds together.
        p_alone: p-value of Student's t-test over the seeds, for this difference by itself; NaN if
            there is no verdict, because seeds are too few or all gain the same.
        p_value: p_alone corrected by Holm's method for all comparisons; it decides.
        comparisons: number of comparisons that p_value is corrected for.
    """

    key: str
    first: str
    second: str
    figure: str
    mean: float
    low: float
    high: float
    seeds: int
    pairs: int
    p_alone: float
    p_value: float
    comparisons: int

    @property
    def line(self) -> str:
        """Describe the difference in one line."""
        gained = (
            f"{self.key}: {self.first} against {self.second}: {self.figure} {self.mean:+.4f} over "
            f"{_count(self.seeds, 'seed')} ({_count(self.pairs, 'pair')})"
        )
        if self.seeds < MIN_SEEDS:
            return (
                f"{gained}: too few seeds to tell from noise; "
                "repeat it with more (trainer.seed=1,2,3)"
            )
        if isnan(self.p_value):
            return f"{gained}, the same for each seed: no spread to tell noise by"
        return f"{gained}; {self._test}"

    @property
    def _test(self) -> str:
        """Say how sure the difference is.

        Interval and p-value of one comparison can look sure where the corrected p-value is not, so
        the line says which is which.
        """
        interval = f"95 % confidence interval {self.low:+.4f} to {self.high:+.4f}"
        test = f"{interval}, p={self.p_alone:.2g}"
        if self.comparisons > 1:
            corrected = f"corrected for {self.comparisons} comparisons p={self.p_value:.2g}"
            test = f"by itself {test}; {corrected}"
        return f"{test}: {'more than noise' if self.p_value < 1 - CONFIDENCE else 'within noise'}"


def groups(choices: Sequence[Choice], values: Sequence[float], figure: str) -> tuple[Group, ...]:
    """Put runs together that differ in their seeds only.

    Args:
        choices: model, dataset, data, recipe and differing parameters of each run, by key.
        values: the figure of each run.
        figure: name of the figure.

    Returns:
        The groups, the best first; none if no configuration was run with two seeds.
    """
    values_by_setting: dict[Setting, list[float]] = {}
    for setting, value in _means([_without(choice) for choice in choices], values).items():
        without_seeds = _without(dict(setting), *SEED_KEYS)
        values_by_setting.setdefault(without_seeds, []).append(value)
    if all(len(members) == 1 for members in values_by_setting.values()):
        return ()
    everywhere = set.intersection(*map(set, values_by_setting))
    data = {(dict(setting).get(DATASET), dict(setting).get(DATA)) for setting in values_by_setting}
    if len(data) == len({dataset for dataset, _ in data}):  # the dataset's name tells it already
        everywhere |= {(DATA, str(digests)) for _, digests in data}
    grouped = [
        Group(_label(setting, everywhere), figure, tuple(members))
        for setting, members in values_by_setting.items()
    ]
    return tuple(sorted(grouped, key=lambda group: -gain(figure, group.mean)))


def differences(
    choices: Sequence[Choice], values: Sequence[float], figure: str
) -> tuple[Difference, ...]:
    """Compare the values of each key, over pairs of runs that are alike in all other keys.

    Runs that are alike in all keys, the seed included, count as one, and the pairs of a seed count
    as one gain. Recipes are compared without the parameters of distillation and pruning, which one
    of the two may lack, and without those that pruning sets by itself.

    Args:
        choices: model, dataset, data, recipe and differing parameters of each run, by key.
        values: the figure of each run.
        figure: name of the figure.

    Returns:
        A difference for each two values of a key that share a pair of runs: model first, recipe
        next, then the parameters by name. Datasets are not compared with each other.
    """
    keys = sorted(
        {key for choice in choices for key in choice} - {*SEED_KEYS, DATASET, DATA},
        key=lambda key: (key not in IDENTITY, key),
    )
    compared = []
    for key in keys:
        named = sorted({choice[key] for choice in choices if choice[key]})
        if len(named) > MAX_VALUES:
            continue
        for first, second in combinations(named, 2):
            left_out = _left_out(key, (first, second), choices[0])
            of_first, of_second = (
                _by_setting((key, value), left_out, choices, values) for value in (first, second)
            )
            alike = sorted(of_first.keys() & of_second.keys())
            if alike:
                pairs = [of_first[setting] - of_second[setting] for setting in alike]
                compared.append(_difference((key, first, second), figure, alike, pairs))
    return _corrected(compared)


def _difference(
    values: tuple[str, str, str], figure: str, settings: Sequence[Setting], pairs: Sequence[float]
) -> Difference:
    """Test the gain of a key's first value over its second; the p-value is not corrected yet.

    Args:
        values: the key and its two values.
        figure: name of the figure.
        settings: all other keys of each pair, with the seed where seeds differ.
        pairs: gain of each pair.
    """
    seeds = [tuple(part for part in setting if part[0] in SEED_KEYS) for setting in settings]
    gains = list(_means(seeds, pairs).values())
    mean, low, high = paired_interval(gains)
    p_value = paired_p_value(gains)
    return Difference(
        *values, figure, mean, low, high, len(gains), len(pairs), p_value, p_value, comparisons=1
    )


def paired_interval(gains: Sequence[float]) -> tuple[float, float, float]:
    """Compute the mean of paired differences and its confidence interval.

    Args:
        gains: the difference of each seed.

    Returns:
        The mean, and both ends of its interval of Student's t with n - 1 degrees of freedom; the
        ends are NaN for one seed.
    """
    mean, seeds = float(np.mean(gains)), len(gains)
    if seeds < 2:
        return mean, nan, nan
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1) * np.std(gains, ddof=1) / sqrt(seeds))
    return mean, mean - half, mean + half


def paired_p_value(gains: Sequence[float]) -> float:
    """Test whether the mean of paired differences is zero (scipy.stats.ttest_1samp, two-sided).

    Args:
        gains: the difference of each seed.

    Returns:
        The p-value; NaN for fewer than MIN_SEEDS seeds, or if all differences are the same.
    """
    if len(gains) < MIN_SEEDS or np.ptp(gains) < ROUNDING:
        return nan
    return float(stats.ttest_1samp(gains, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (S. Holm, Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: p-values of tests that are read together, in any order.

    Returns:
        The corrected p-values, in that order.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _corrected(compared: Sequence[Difference]) -> tuple[Difference, ...]:
    """Correct the p-values of the differences that have one."""
    tested = [number for number, item in enumerate(compared) if not isnan(item.p_alone)]
    p_values = dict(zip(tested, holm([compared[number].p_alone for number in tested]), strict=True))
    return tuple(
        replace(item, p_value=p_values.get(number, nan), comparisons=len(tested))
        for number, item in enumerate(compared)
    )


def has_group(recipe: str, group: str) -> bool:
    """Say whether a recipe is one with distillation or pruning.

    Args:
        recipe: name of the recipe, such as direct+pruning.
        group: one of RECIPE_GROUPS.
    """
    return group in recipe.split("+")[1:]


def _left_out(key: str, values: tuple[str, str], names: Iterable[str]) -> set[str]:
    """Return the keys in which the runs of a pair may differ, out of the names of all keys."""
    if key != RECIPE:
        return {key}
    given = [group for group in RECIPE_GROUPS if any(has_group(value, group) for value in values)]
    following = {name for group in given for name in SET_BY_GROUP.get(group, ())}
    return {key, *following, *(name for name in names if name.startswith(tuple(given)))}


def _by_setting(
    chosen: tuple[str, str], left_out: set[str], choices: Sequence[Choice], values: Sequence[float]
) -> dict[Setting, float]:
    """Return the figures of the runs with one value of a key, by their setting of other keys.

    Args:
        chosen: the key and its value.
        left_out: keys that are no part of a setting.
        choices: model, dataset, data, recipe and differing parameters of each run, by key.
        values: the figure of each run.
    """
    key, value = chosen
    runs = [number for number, choice in enumerate(choices) if choice[key] == value]
    settings = [_without(choices[number], *left_out) for number in runs]
    return _means(settings, [values[number] for number in runs])


def _means(settings: Sequence[Setting], values: Sequence[float]) -> dict[Setting, float]:
    """Return the mean figure of each setting: a configuration and seed is one value."""
    members: dict[Setting, list[float]] = {}
    for setting, value in zip(settings, values, strict=True):
        members.setdefault(setting, []).append(value)
    return {setting: float(np.mean(figures)) for setting, figures in members.items()}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
