from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from pipeline.evaluation.significance import beats_baseline, mcnemar


def right(*rows: int) -> np.ndarray:
    return np.array(rows, dtype=bool)


def test_models_that_are_never_right_alone_do_not_differ() -> None:
    assert mcnemar(right(1, 0, 1), right(1, 0, 1)) == 1.0


def test_rows_that_both_get_right_or_wrong_do_not_count() -> None:
    few = mcnemar(right(1, 1, 1, 0), right(0, 0, 1, 0))
    padded = mcnemar(right(1, 1, *[1] * 50, *[0] * 50), right(0, 0, *[1] * 50, *[0] * 50))
    assert few == padded


@pytest.mark.parametrize(("only_first", "only_second"), [(8, 0), (8, 1), (30, 12)])
def test_the_p_value_is_that_of_a_fair_coin(only_first: int, only_second: int) -> None:
    first = right(*[1] * only_first, *[0] * only_second)
    p_value = mcnemar(first, ~first)
    discordant = only_first + only_second
    assert p_value == pytest.approx(2 * binom.cdf(only_second, discordant, 0.5))
    assert p_value == mcnemar(~first, first), "the two are told apart by the caller"


@pytest.mark.parametrize(
    ("only_shipped", "only_linear", "is_better"), [(30, 5, True), (12, 5, False), (5, 30, False)]
)
def test_the_linear_model_is_beaten_only_by_more_than_chance(
    only_shipped: int, only_linear: int, is_better: bool
) -> None:
    labels = np.zeros(100, dtype=np.int64)
    shipped, linear = np.ones(100, dtype=np.int64), np.ones(100, dtype=np.int64)
    shipped[:50] = linear[:50] = 0
    shipped[50 : 50 + only_shipped] = 0
    linear[100 - only_linear :] = 0
    verdict = beats_baseline(
        SimpleNamespace(validation_predictions=shipped),
        SimpleNamespace(validation_predictions=linear),
        labels,
    )
    assert verdict.is_better is is_better
    assert verdict.line.startswith("beaten: " if is_better else "not beaten: ")
    figures = f"validation accuracy {(50 + only_shipped) / 100:.4f} against "
    assert f"{figures}{(50 + only_linear) / 100:.4f} of the linear model" in verdict.line
