"""Find the runs that no other run beats in every figure."""

from collections.abc import Sequence

import numpy as np

from pipeline.config.objectives import gain


def pareto_front(points: Sequence[Sequence[float]], names: Sequence[str]) -> list[bool]:
    """Say which points are Pareto-optimal.

    Args:
        points: figures of each run, (runs, figures); a point with a NaN is not optimal.
        names: name of each figure, which says whether more or less of it is better.

    Returns:
        For each point, whether no other one is at least as good in every figure and better in one.
    """
    if not points:
        return []
    values = np.array(
        [[gain(name, value) for name, value in zip(names, point, strict=True)] for point in points]
    )
    complete = ~np.isnan(values).any(axis=1)
    rivals = values[complete]
    optimal = []
    for index, point in enumerate(values):
        dominated = ((rivals >= point).all(axis=1) & (rivals > point).any(axis=1)).any()
        optimal.append(bool(complete[index] and not dominated))
    return optimal
