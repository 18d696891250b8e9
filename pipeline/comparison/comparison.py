"""Put runs beside each other: what differs, their figures, and which are Pareto-optimal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.comparison.differences import (
    DATA,
    Difference,
    Group,
    differences,
    groups,
)
from pipeline.comparison.front import pareto_front
from pipeline.comparison.rows import FIGURES, Row, row_of
from pipeline.comparison.varying import varying_parameters
from pipeline.config.objectives import gain, is_score
from pipeline.names import (
    ACCURACY,
    DEFAULT_OBJECTIVE,
    FINISHED,
    LATENCY_P50_MS,
    SIZE_MB,
    interval_of,
)
from pipeline.tracking.lookup import last_attempts

if TYPE_CHECKING:
    from mlflow.entities import Run

# Columns of a comparison's table beside the identity, the parameters and the figures of a run.
PARETO = "pareto"
RUN = "run"
STATUS = "status"
RUN_ID = "run_id"


@dataclass(frozen=True)
class Comparison:
    """Runs on one corpus, sorted by the first objective, the best first.

    Args:
        rows: the runs; those without that figure come last.
        varying: parameters that differ between the runs and do not follow from model, dataset or
            recipe.
        objectives: names of the figures that the runs are compared by, the most important first.
        groups: configurations with their means over seeds, if one of them has several seeds.
        differences: what one value of a model, recipe or parameter gains over another.
    """

    rows: tuple[Row, ...]
    varying: tuple[str, ...]
    objectives: tuple[str, ...]
    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]

    @classmethod
    def of(cls, runs: "Sequence[Run]", objectives: Sequence[str]) -> "Comparison":
        """Compare runs.

        Args:
            runs: at least one run, all on the same texts; none of them is the parent of a sweep.
            objectives: names of figures, as MLflow or FIGURES has them. The first one sorts; if it
                is the only one, the second is the latency, or the size where nothing was timed. If
                that one is a cost itself, the second is the validation accuracy.
        """
        return cls.of_rows([row_of(run, objectives) for run in last_attempts(runs)], objectives)

    @classmethod
    def of_rows(cls, rows: Sequence[Row], objectives: Sequence[str]) -> "Comparison":
        """Compare runs, as row_of() has read them.

        Args:
            rows: runs on the same texts.
            objectives: as for of().
        """
        axes = list(objectives)
        if len(axes) == 1:
            axes.append(_second_axis(axes[0], rows))
        # A run that did not finish may have figures, but no model that could be shipped.
        points = [
            [row.figures.get(name, nan) if row.status == FINISHED else nan for name in axes]
            for row in rows
        ]
        rows = [
            replace(row, pareto=optimal)
            for row, optimal in zip(rows, pareto_front(points, axes), strict=True)
        ]
        figure = objectives[0]
        rows.sort(
            key=lambda row: -gain(figure, row.figures[figure]) if figure in row.figures else inf
        )
        varying = varying_parameters(rows)
        finished = [row for row in rows if row.status == FINISHED and figure in row.figures]
        choices = [
            row.identity | {DATA: row.data} | {key: row.params.get(key, "") for key in varying}
            for row in finished
        ]
        values = [row.figures[figure] for row in finished]
        return cls(
            rows=tuple(rows),
            varying=varying,
            objectives=tuple(axes),
            groups=groups(choices, values, figure),
            differences=differences(choices, values, figure),
        )

    @property
    def shared_identity(self) -> dict[str, str]:
        """Return those of model, dataset and recipe that are the same in all runs, by name."""
        first = self.rows[0].identity
        return {
            name: value
            for name, value in first.items()
            if all(row.identity[name] == value for row in self.rows)
        }

    @property
    def lines(self) -> list[str]:
        """Say what the best run was chosen from, and describe each group and difference."""
        return [
            *self._choice,
            *(group.line for group in self.groups),
            *(difference.line for difference in self.differences),
        ]

    @property
    def _choice(self) -> list[str]:
        """Say how many runs the best one was chosen from, and what it reached on the test split."""
        figure = self.objectives[0]
        finished = [row for row in self.rows if row.status == FINISHED and figure in row.figures]
        if len(finished) < 2:
            return []
        best = finished[0]
        line = (
            f"{best.name} is the best of {len(finished)} runs by {figure}, "
            f"{best.figures[figure]:.4g}, and owes some of that to luck, as the best of several "
            "does"
        )
        low, high = (best.figures.get(end) for end in interval_of(ACCURACY))
        if low is not None and high is not None:
            accuracy = best.figures[ACCURACY]
            line += f"; its test accuracy is {accuracy:.4f} (95 % {low:.3f} to {high:.3f})"
        return [f"{line}."]

    def table(self, parameters: Sequence[str] | None = None) -> pd.DataFrame:
        """Lay the runs out as a table.

        Args:
            parameters: parameters that are shown; None shows those that vary.

        Returns:
            A row for each run with the columns pareto (a star or nothing), run, the figures that
            some run has, model, dataset, recipe, the parameters, status and run_id.
        """
        shown = self.varying if parameters is None else parameters
        names = list(dict.fromkeys([*self.objectives, *FIGURES]))
        lines = []
        for row in self.rows:
            line: dict[str, object] = {PARETO: "*" if row.pareto else "", RUN: row.name}
            line |= {name: row.figures.get(name, nan) for name in names}
            line |= row.identity
            line |= {key: number(row.params.get(key, "")) for key in shown}
            lines.append({**line, STATUS: row.status, RUN_ID: row.run_id})
        frame = pd.DataFrame(lines)
        return frame.drop(columns=[name for name in names if frame[name].isna().all()])


def number(text: str) -> int | float | str:
    """Read a parameter as an int or a float, or return its text if it is neither."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _second_axis(objective: str, rows: Sequence[Row]) -> str:
    """Name what an objective is weighed against.

    A score is weighed against the latency, or the size where nothing was timed. A cost is weighed
    against the accuracy, because two costs go together: the cheapest run would be best in both.
    """
    if not is_score(objective):
        return DEFAULT_OBJECTIVE
    return LATENCY_P50_MS if any(LATENCY_P50_MS in row.figures for row in rows) else SIZE_MB
