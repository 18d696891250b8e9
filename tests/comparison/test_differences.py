from math import isnan, sqrt

import pytest
from scipy import stats

from pipeline.comparison.differences import (
    differences,
    groups,
    holm,
    paired_interval,
    paired_p_value,
)


def choice(
    recipe: str, seed: int, rate: str = "1e-4", dataset: str = "emotion", data: str = "abc"
) -> dict[str, str]:
    return {
        "model": "minilm",
        "dataset": dataset,
        "data": data,
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


def test_a_seed_that_was_run_again_is_one_value() -> None:
    choices = [choice("direct", seed) for seed in (1, 1, 1, 2)]
    (group,) = groups(choices, [0.80, 0.82, 0.84, 0.90], "accuracy")
    assert group.values == (pytest.approx(0.82), 0.90)
    assert groups(choices[:3], [0.80, 0.80, 0.80], "accuracy") == ()
    others = [choice("none", seed) for seed in (1, 1, 1, 2)]
    (difference,) = differences(choices + others, [0.8] * 4 + [0.7] * 4, "accuracy")
    assert difference.pairs == 2


def test_runs_on_other_data_are_neither_one_group_nor_a_pair() -> None:
    choices = [choice("direct", 1), choice("direct", 2), choice("direct", 1, data="def")]
    labels = [group.label for group in groups(choices, [0.8, 0.8, 0.9], "accuracy")]
    assert labels == ["data def", "data abc"]
    other = choice("none", 1, data="def")
    assert differences([choice("direct", 1), other], [0.8, 0.9], "accuracy") == ()


def test_recipes_with_and_without_a_teacher_are_paired() -> None:
    taught = {"distillation.temperature": "2.0"}
    choices = [choice("qat", seed) | {"distillation.temperature": ""} for seed in (1, 2, 3)]
    choices += [choice("qat+distillation", seed) | taught for seed in (1, 2, 3)]
    (difference,) = differences(choices, [0.8, 0.81, 0.82, 0.85, 0.87, 0.86], "accuracy")
    assert (difference.key, difference.second, difference.pairs) == (
        *("recipe", "qat+distillation"),
        3,
    )
    assert difference.mean == pytest.approx(-0.05)


@pytest.mark.parametrize(
    ("recipe", "pairs"), [("qat+pruning", 3), ("qat+distillation", 0), ("direct", 0)]
)
def test_what_pruning_sets_by_itself_may_differ_in_a_pair(recipe: str, pairs: int) -> None:
    saving = {"trainer.load_best_model_at_end": "True", "trainer.save_strategy": "epoch"}
    nothing = {"trainer.load_best_model_at_end": "False", "trainer.save_strategy": "no"}
    choices = [choice("qat", seed) | saving for seed in (1, 2, 3)]
    choices += [choice(recipe, seed) | nothing for seed in (1, 2, 3)]
    found = differences(choices, [0.8, 0.81, 0.82, 0.75, 0.77, 0.76], "accuracy")
    assert sum(each.pairs for each in found) == pairs


def test_two_recipes_are_compared_over_the_seeds_that_both_have() -> None:
    choices = [choice("direct", seed) for seed in (1, 2, 3)]
    choices += [choice("none", seed) for seed in (1, 2, 4)]
    (difference,) = differences(choices, [0.80, 0.82, 0.10, 0.85, 0.88, 0.99], "accuracy")
    assert (difference.key, difference.first, difference.second) == ("recipe", "direct", "none")
    assert difference.pairs == 2
    assert difference.mean == pytest.approx(-0.055)


def test_pairs_that_share_a_seed_are_no_replications() -> None:
    rates = ("1e-4", "2e-4", "3e-4")
    choices = [choice(recipe, 1, rate) for recipe in ("direct", "none") for rate in rates]
    for each in choices:
        del each["trainer.seed"]  # it is the same in all runs, and no column
    figures = [0.820, 0.8201, 0.8199, 0.80, 0.80, 0.80]
    recipes = next(
        each for each in differences(choices, figures, "accuracy") if each.key == "recipe"
    )
    assert (recipes.seeds, recipes.pairs) == (1, 3)
    assert recipes.mean == pytest.approx(0.02)
    assert isnan(recipes.p_value)
    assert isnan(recipes.low)
    assert "+0.0200 over 1 seed (3 pairs): too few seeds to tell from noise" in recipes.line


def test_the_pairs_of_a_seed_are_one_gain() -> None:
    """Seed 1 has three pairs and seeds 2 and 3 have one, and each seed counts as much."""
    rates_of = {1: ("1e-4", "2e-4", "3e-4"), 2: ("1e-4",), 3: ("2e-4",)}
    choices = [
        choice(recipe, seed, rate)
        for recipe in ("direct", "none")
        for seed, rates in rates_of.items()
        for rate in rates
    ]
    gains = [0.01, 0.02, 0.03, 0.05, 0.02]
    figures = [0.8 + gain for gain in gains] + [0.8] * 5
    recipes = next(
        each for each in differences(choices, figures, "accuracy") if each.key == "recipe"
    )
    assert (recipes.seeds, recipes.pairs) == (3, 5)
    known = stats.ttest_1samp([0.02, 0.05, 0.02], 0)
    assert recipes.mean == pytest.approx(0.03)
    assert recipes.p_alone == pytest.approx(known.pvalue)
    interval = known.confidence_interval(0.95)
    assert (recipes.low, recipes.high) == pytest.approx((interval.low, interval.high))
    assert "over 3 seeds (5 pairs)" in recipes.line


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


def test_the_p_value_is_students() -> None:
    gains = [0.01, 0.03, 0.02]
    assert paired_p_value(gains) == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)


def test_holm_corrects_for_the_number_of_tests() -> None:
    # Worked by hand: 0.01 x 4, 0.02 x 3, then 0.03 x 2 = 0.06, and 0.5 x 1.
    assert holm([0.5, 0.02, 0.01, 0.03]) == pytest.approx([0.5, 0.06, 0.04, 0.06])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []


def test_many_comparisons_make_a_verdict_harder() -> None:
    gains = [0.02, 0.03, 0.025]
    recipes = ("a", "b", "c", "d")
    pair = [choice(recipe, seed) for recipe in recipes[:2] for seed in (1, 2, 3)]
    (alone,) = differences(pair, [*gains, 0, 0, 0], "accuracy")
    assert alone.line == (
        "recipe: a against b: accuracy +0.0250 over 3 seeds (3 pairs); "
        "95 % confidence interval +0.0126 to +0.0374, p=0.013: more than noise"
    )
    noise = [0.001, -0.001, 0.0005, -0.001, 0.001, 0.0]
    all_four = [choice(recipe, seed) for recipe in recipes for seed in (1, 2, 3)]
    first, *others = differences(all_four, [*gains, 0, 0, 0, *noise], "accuracy")
    assert first.line == (
        "recipe: a against b: accuracy +0.0250 over 3 seeds (3 pairs); by itself "
        "95 % confidence interval +0.0126 to +0.0374, p=0.013; corrected for 6 comparisons "
        "p=0.065: within noise"
    ), "an interval without 0 and a verdict of noise are told apart in the line"
    assert {other.comparisons for other in others} == {6}


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ([0.02, 0.02], "+0.0200 over 2 seeds (2 pairs): too few seeds to tell from noise"),
        (
            [0.02, 0.02, 0.02],
            "+0.0200 over 3 seeds (3 pairs), the same for each seed: no spread to tell noise by",
        ),
    ],
)
def test_few_or_equal_gains_are_no_verdict(gains: list[float], words: str) -> None:
    choices = [choice(recipe, seed) for recipe in ("a", "b") for seed in range(len(gains))]
    values = [0.5 + gain for gain in gains] + [0.5] * len(gains)
    (difference,) = differences(choices, values, "accuracy")
    assert words in difference.line
    assert isnan(difference.p_value)


def test_one_pair_is_no_verdict() -> None:
    (difference,) = differences([choice("direct", 1), choice("none", 1)], [0.9, 0.8], "accuracy")
    assert isnan(difference.low)
    assert "over 1 seed (1 pair)" in difference.line
    assert "noise" in difference.line
