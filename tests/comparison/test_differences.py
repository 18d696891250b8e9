from math import isnan, sqrt

import pytest
from scipy import stats

from pipeline.comparison.differences import differences, groups, paired_interval


def choice(recipe: str, seed: int, rate: str = "1e-4", dataset: str = "emotion") -> dict[str, str]:
    return {
        "model": "minilm",
        "dataset": dataset,
        "recipe": recipe,
        "trainer.learning_rate": rate,
        "trainer.seed": str(seed),
    }


def test_runs_that_differ_in_their_seed_are_one_group_and_the_best_group_comes_first() -> None:
    choices = [choice(recipe, seed) for recipe in ("direct", "none") for seed in (1, 2)]
    best, other = groups(choices, [0.80, 0.82, 0.90, 0.94], "accuracy")
    assert (best.label, best.values) == ("none", (0.90, 0.94))
    assert best.mean == pytest.approx(0.92)
    assert best.spread == pytest.approx(0.04 / sqrt(2))
    assert other.line == "direct: accuracy 0.8100 ± 0.0141, n = 2"


def test_less_loss_is_better() -> None:
    choices = [choice(recipe, seed) for recipe in ("direct", "none") for seed in (1, 2)]
    assert [group.label for group in groups(choices, [0.5, 0.6, 0.9, 0.8], "loss")] == [
        "direct",
        "none",
    ]


def test_without_a_repeated_configuration_there_are_no_groups() -> None:
    assert groups([choice("direct", 1), choice("none", 1)], [0.8, 0.9], "accuracy") == ()


def test_a_group_of_one_seed_has_no_spread() -> None:
    choices = [choice("direct", 1), choice("direct", 2), choice("none", 1)]
    single = {group.label: group for group in groups(choices, [0.8, 0.9, 0.7], "accuracy")}["none"]
    assert isnan(single.spread)
    assert single.line == "none: accuracy 0.7000 (one seed), n = 1"


def test_two_recipes_are_compared_over_the_seeds_that_both_have() -> None:
    choices = [choice("direct", seed) for seed in (1, 2, 3)]
    choices += [choice("none", seed) for seed in (1, 2, 4)]
    (difference,) = differences(choices, [0.80, 0.82, 0.10, 0.85, 0.88, 0.99], "accuracy")
    assert (difference.key, difference.first, difference.second) == ("recipe", "direct", "none")
    assert difference.pairs == 2
    assert difference.mean == pytest.approx(-0.055)


def test_values_are_not_compared_over_runs_that_differ_in_something_else() -> None:
    assert differences([choice("direct", 1), choice("none", 2)], [0.8, 0.9], "accuracy") == ()
    other = choice("none", 1, dataset="reviews")
    assert differences([choice("direct", 1), other], [0.8, 0.9], "accuracy") == ()


def test_a_key_with_many_values_is_left_to_the_plot() -> None:
    choices = [choice("direct", 1, rate=str(rate)) for rate in range(5)]
    assert differences(choices, [0.1, 0.2, 0.3, 0.4, 0.5], "accuracy") == ()
    assert len(differences(choices[:4], [0.1, 0.2, 0.3, 0.4], "accuracy")) == 6


def test_the_interval_is_students() -> None:
    gains = [0.01, 0.03, 0.02]
    mean, low, high = paired_interval(gains)
    expected = stats.t.interval(0.95, 2, loc=mean, scale=stats.sem(gains))
    assert (low, high) == pytest.approx(expected)


def test_one_pair_is_no_verdict() -> None:
    (difference,) = differences([choice("direct", 1), choice("none", 1)], [0.9, 0.8], "accuracy")
    assert isnan(difference.low)
    assert "in 1 pair" in difference.line
    assert "noise" in difference.line
