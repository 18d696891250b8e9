"""Compare the installed stack with transformers 4.45.2: see reference.py."""

import json
from typing import Any

import numpy as np
import pytest

from tests.training.reference import CONFIGS, RECORDED, measure

# What another CPU or another number of threads changes: sums in another order flip roundings. With
# one thread on the CPU that recorded them, all figures are equal to the last bit.
LOSS = 0.01
SCALE = 0.05  # relative
ZERO_POINT = 3
MEAN_LOGIT = 0.05


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads(RECORDED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_recipe_ends_as_on_the_old_stack(name: str, recorded: dict[str, Any]) -> None:
    before, now = recorded[name], measure(name)
    for fact in ("fake_quantizations", "statistics", "int8_modules"):
        assert now[fact] == before[fact]
    assert losses(now) == pytest.approx(losses(before), abs=LOSS)
    assert now["scales"].keys() == before["scales"].keys()
    for module, (scale, zero_point) in before["scales"].items():
        assert now["scales"][module][0] == pytest.approx(scale, rel=SCALE), module
        assert now["scales"][module][1] == pytest.approx(zero_point, abs=ZERO_POINT), module
    difference = np.abs(np.array(now["logits"]) - np.array(before["logits"]))
    assert difference.mean() < MEAN_LOGIT


def losses(figures: dict[str, Any]) -> dict[str, float]:
    """Return the losses by curve and step; learning rates are logged a step earlier since 4.46."""
    return {
        f"{curve}@{step}": value
        for step, entries in figures["curve"]
        for curve, value in entries.items()
        if curve.endswith("/loss")
    }
