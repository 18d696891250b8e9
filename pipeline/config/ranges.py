"""Give the numbers of a config dataclass their ranges, as metadata of their fields."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from math import isfinite
from typing import Any

RANGE = "range"  # in the metadata of a number's field
LARGEST = 2**63 - 1  # integer that NumPy, torch and MLflow take
ROUNDING = 1e-9  # 0.90 - 0.89 is a little more than 0.01


@dataclass(frozen=True)
class Range:
    """Say which numbers a key takes; not-a-number and infinity are never among them.

    Args:
        above, at_least: its lower end, without or with that number itself.
        below, at_most: its upper end, without or with that number itself.
        also: a number that is taken, although it lies outside.
    """

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    also: float | None = None

    def __contains__(self, value: float) -> bool:
        return value == self.also or (
            (abs(value) <= LARGEST if isinstance(value, int) else isfinite(value))
            and (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )

    def __str__(self) -> str:
        ends = [
            f"{name.replace('_', ' ')} {end}" for name, end in vars(self).items() if end is not None
        ]
        return " and ".join(ends).replace(" and also", ", or")


def at_most(value: float, limit: float) -> bool:
    """Say whether a computed value keeps a limit; what rounding adds to it does not count.

    Args:
        value: difference or ratio of figures; one that is not a number keeps no limit.
        limit: largest value that is accepted.
    """
    return bool(value <= limit + ROUNDING)


def number(default: Any, **ends: float) -> Any:
    """Declare a key that takes numbers, with its default and the ends of its Range."""
    return field(default=default, metadata={RANGE: Range(**ends)})


def share(default: Any = None) -> Any:
    """Declare a key that takes shares of a whole, above 0 and below 1."""
    return number(default, above=0, below=1)


def numbers(config: Any, prefix: str = "") -> Iterator[tuple[str, float, Range]]:
    """List the numbers of a config with the ranges that the schema gives them.

    Args:
        config: dataclass of the schema.
        prefix: what the keys begin with.

    Yields:
        Dotted key, number and range; each number of a list by itself.
    """
    for item in fields(config):
        key, value = f"{prefix}{item.name}", getattr(config, item.name)
        if is_dataclass(value):
            yield from numbers(value, f"{key}.")
        elif isinstance(value, dict):
            for name, entry in value.items():
                yield from numbers(entry, f"{key}.{name}.")
        elif RANGE in item.metadata and value is not None:
            for each in value if isinstance(value, list) else [value]:
                yield key, each, item.metadata[RANGE]
