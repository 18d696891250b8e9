"""Print measured figures beside what was promised of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Promise:
    """A measured figure, and the bound that was promised of it.

    Args:
        figure: what was measured, as it is printed.
        value: what it came to.
        limit: the bound that was promised.
        unit: unit of value and limit, with the space before it; empty for a ratio.
        bound: whether the limit is the most or the least that was promised.
    """

    figure: str
    value: float
    limit: float
    unit: str = ""
    bound: Literal["at most", "at least"] = "at most"

    @property
    def is_kept(self) -> bool:
        """Whether the value is on the promised side of the limit."""
        if self.bound == "at least":
            return self.value >= self.limit
        return self.value <= self.limit


def print_promises(promises: Sequence[Promise]) -> int:
    """Print each figure with its promise.

    Args:
        promises: measured figures and what was promised of them.

    Returns:
        The exit code of the benchmark: 1 if a promise is broken, else 0.
    """
    for promise in promises:
        value, limit = f"{promise.value:.4g}{promise.unit}", f"{promise.limit:g}{promise.unit}"
        verdict = "kept" if promise.is_kept else "BROKEN"
        print(f"{promise.figure}: {value} (promised: {promise.bound} {limit}) {verdict}")
    return 0 if all(promise.is_kept for promise in promises) else 1
