import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from pipeline.evaluation.calibration import expected_calibration_error
from pipeline.evaluation.intervals import (
    accuracy_difference_interval,
    accuracy_interval,
    ece_interval,
    f1_interval,
)


def answers(both: int, only_first: int, only_second: int, neither: int) -> list[np.ndarray]:
    """Lay out which of two models gets a text right."""
    cells = [(1, 1)] * both + [(1, 0)] * only_first + [(0, 1)] * only_second + [(0, 0)] * neither
    return [column.astype(bool) for column in np.array(cells).T]


def test_wilsons_interval_is_that_of_the_textbook() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I: 81 of 263.
    interval = accuracy_interval(81, 263)
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert accuracy_interval(60, 60).low == pytest.approx(0.9398, abs=5e-5), "not 1 to 1"


def test_the_interval_of_a_difference_is_newcombes_method_10() -> None:
    interval = accuracy_difference_interval(*answers(36, 12, 2, 0))
    assert (interval.low, interval.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_models_that_never_differ_are_equal_only_as_far_as_the_texts_can_tell() -> None:
    few = accuracy_difference_interval(*answers(54, 0, 0, 6))
    many = accuracy_difference_interval(*answers(5400, 0, 0, 600))
    assert few.low == pytest.approx(-few.high)
    assert 0.01 < few.high < 0.1
    assert 0 < many.high < 0.001


def test_the_interval_of_a_difference_turns_with_the_models() -> None:
    first, second = answers(70, 9, 3, 18)
    one, other = (
        accuracy_difference_interval(first, second),
        accuracy_difference_interval(second, first),
    )
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@pytest.mark.parametrize(("gain", "loss"), [(0.04, 0.04), (0.05, 0.03)])
def test_the_interval_of_a_difference_holds_it_in_95_of_100_splits(
    gain: float, loss: float
) -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        counts = random.multinomial(600, [0.8, gain, loss, 0.2 - gain - loss])
        interval = accuracy_difference_interval(*answers(*counts))
        held += interval.low <= gain - loss <= interval.high
    assert 370 <= held <= 395, "378 of 400 are 0.945"


def test_the_interval_of_macro_f1_holds_it_in_most_splits() -> None:
    random = np.random.default_rng(0)

    def split(rows: int) -> tuple[np.ndarray, np.ndarray]:
        labels = random.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])
        return labels, np.where(random.random(rows) < 0.8, labels, random.integers(0, 4, rows))

    truth = f1_score(*split(500_000), average="macro")
    held = 0
    for _ in range(60):
        labels, predicted = split(500)
        interval = f1_interval(confusion_matrix(labels, predicted))
        held += interval.low <= truth <= interval.high
    assert held >= 51


def test_the_interval_of_macro_f1_is_around_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 5000)
    predicted = np.where(random.random(5000) < 0.9, labels, random.integers(0, 6, 5000))
    f1 = f1_score(labels, predicted, labels=range(5), average="macro")
    interval = f1_interval(confusion_matrix(labels, predicted, labels=range(6)))
    assert f1 - 0.02 < interval.low < f1 < interval.high < f1 + 0.02


def test_the_interval_of_the_calibration_error_reaches_below_its_estimate() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2000, 3)).astype(np.float32) * 2
    labels = (logits + random.gumbel(size=logits.shape)).argmax(-1)  # drawn from the softmax
    estimate = expected_calibration_error(logits, labels)  # of a calibrated model: noise alone
    interval = ece_interval(logits, labels)
    assert 0 <= interval.low < estimate
    assert interval.low < 0.005
    assert ece_interval(logits, labels) == interval, "the same texts give the same interval"


@pytest.mark.parametrize(
    ("rows", "classes", "accuracy"), [(60, 2, 0.98), (60, 3, 0.8), (1000, 50, 0.9)]
)
def test_the_interval_of_macro_f1_holds_it_for_few_texts_and_near_1(
    rows: int, classes: int, accuracy: float
) -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        labels = random.integers(0, classes, rows)
        wrong = random.random(rows) >= accuracy
        predicted = np.where(wrong, (labels + random.integers(1, classes, rows)) % classes, labels)
        confusion = confusion_matrix(labels, predicted, labels=range(classes))
        interval = f1_interval(confusion)
        held += interval.low <= accuracy <= interval.high  # of equal classes, F1 is the accuracy
    assert held >= 55


@pytest.mark.parametrize(("rows", "scale"), [(60, 6), (500, 2)])
def test_the_interval_of_a_calibrated_models_error_holds_0_and_its_estimate(
    rows: int, scale: float
) -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(40):
        logits = (random.normal(size=(rows, 3)) * scale).astype(np.float32)
        labels = (logits + random.gumbel(size=logits.shape)).argmax(-1)
        interval = ece_interval(logits, labels)
        assert interval.low <= expected_calibration_error(logits, labels) <= interval.high
        held += interval.low < 0.002
    assert held >= 36


def test_a_split_that_is_all_right_is_right_only_as_far_as_its_texts_can_tell() -> None:
    two, many = f1_interval(np.diag([1, 1])), f1_interval(np.diag([500, 500]))
    assert two.low < 0.4
    assert 0.99 < many.low < 1
    assert two.high == many.high == 1
    certain = np.eye(2, dtype=np.float32)[[0, 1, 1]] * 50
    interval = ece_interval(certain, np.array([0, 1, 1]))
    assert interval.low == pytest.approx(0)
    assert interval.high == pytest.approx(1 - accuracy_interval(3, 3).low)
