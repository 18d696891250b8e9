"""Runs side by side: what differs, what it gave, and what is Pareto-optimal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.comparison.differences import Difference, Group, differences, groups
from pipeline.config.objectives import gain
from pipeline.tracking.store import (
    HASH_TAG,
    PARENT_TAG,
    SHIPPED_TAG,
    model_label,
    reason_of,
    status_of,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

FIGURES = (
    "accuracy",
    "accuracy_drop",
    "loss",
    "f1_macro",
    "size_mb",
    "latency_p50_ms",
    "speedup",
    "training_s",
)


@dataclass(frozen=True)
class Row:
    """One run of a comparison.

    Args:
        run_id, experiment_id, name, status: of the run; the status is PRUNED if the pruner stopped it.
        reason: why it did not finish.
        model, dataset, recipe: what was trained, on what, how.
        params: every parameter by its dotted key.
        figures: of the shipped artifact: accuracy, accuracy_drop, loss, f1_macro, size_mb, latency_p50_ms, speedup and
            training_s, as far as they were logged; and whatever else is asked for.
        pareto: whether no other run is at least as good in every objective and better in one.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    reason: str
    model: str
    dataset: str
    recipe: str
    params: Mapping[str, str]
    figures: Mapping[str, float]
    pareto: bool


@dataclass(frozen=True)
class Comparison:
    """Runs, sorted by the first objective, the best first.

    Args:
        rows: the runs; those without the figure come last.
        varying: parameters that differ between the runs and do not follow from model, dataset or recipe.
        objectives: figures that the runs are compared by, the most important first.
        groups: configurations with their means, if one of them is there with several seeds.
        differences: between two values of a recipe or parameter.
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
            runs: at least one; parents of sweeps are none.
            objectives: figures by their names in MLflow, or by those of Row.figures; the first one sorts.
        """
        bare = [_row(run, objectives) for run in _last_attempts(runs)]
        axes = list(objectives) if len(objectives) > 1 else [objectives[0], _cost(bare)]
        optimal = pareto_front(
            [[row.figures.get(name, nan) for name in axes] for row in bare], axes
        )
        rows = [
            Row(**{**vars(row), "pareto": best}) for row, best in zip(bare, optimal, strict=True)
        ]
        rows.sort(
            key=lambda row: (
                -gain(objectives[0], row.figures[objectives[0]])
                if objectives[0] in row.figures
                else inf
            )
        )
        varying = _varying(rows)
        finished = [
            row for row in rows if row.status == "FINISHED" and objectives[0] in row.figures
        ]
        choices = [
            {"model": row.model, "dataset": row.dataset, "recipe": row.recipe}
            | {key: row.params.get(key, "") for key in varying}
            for row in finished
        ]
        measured = (choices, [row.figures[objectives[0]] for row in finished], objectives[0])
        return cls(tuple(rows), varying, tuple(axes), groups(*measured), differences(*measured))

    @property
    def lines(self) -> list[str]:
        """Groups and differences in words."""
        return [
            *(group.line for group in self.groups),
            *(difference.line for difference in self.differences),
        ]

    def table(self) -> pd.DataFrame:
        """One line for each run: what differs, the figures, the status; columns that would be empty are left out."""
        shown = list(dict.fromkeys([*self.objectives, *FIGURES]))
        lines = []
        for row in self.rows:
            line: dict[str, object] = {"pareto": "*" if row.pareto else "", "run": row.name}
            line |= {"model": row.model, "dataset": row.dataset, "recipe": row.recipe}
            line |= {key: number(row.params.get(key, "")) for key in self.varying}
            line |= {name: row.figures.get(name, nan) for name in shown}
            lines.append({**line, "status": row.status, "run_id": row.run_id})
        frame = pd.DataFrame(lines)
        return frame.drop(columns=[name for name in shown if frame[name].isna().all()])


def number(text: str) -> int | float | str:
    """Read a parameter as the number that it is, if it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def pareto_front(points: Sequence[Sequence[float]], names: Sequence[str]) -> list[bool]:
    """Tell which points are Pareto-optimal.

    Args:
        points: (runs, figures); a point with a figure that is not a number is not optimal.
        names: of the figures, which say what is better.

    Returns:
        For each point, whether no other one is at least as good in every figure and better in one.
    """
    if not points:
        return []
    values = np.array(
        [[gain(name, value) for name, value in zip(names, point, strict=True)] for point in points]
    )
    complete = ~np.isnan(values).any(axis=1)
    optimal = []
    for index, point in enumerate(values):
        others = values[complete]
        dominated = ((others >= point).all(axis=1) & (others > point).any(axis=1)).any()
        optimal.append(bool(complete[index] and not dominated))
    return optimal


def _last_attempts(runs: "Sequence[Run]") -> "list[Run]":
    """Leave out unfinished runs of a sweep that were repeated under the same parent later."""

    def job(run: "Run") -> tuple[str | None, str | None]:
        return run.data.tags.get(PARENT_TAG), run.data.tags.get(HASH_TAG)

    last = {job(run): run.info.run_id for run in sorted(runs, key=lambda run: run.info.start_time)}
    return [
        run
        for run in runs
        if run.info.status == "FINISHED" or None in job(run) or last[job(run)] == run.info.run_id
    ]


def _row(run: "Run", objectives: Sequence[str]) -> Row:
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    shipped = tags.get(SHIPPED_TAG) or ("int8" if "int8/accuracy" in metrics else "fp32")
    phases = [
        value
        for name, value in metrics.items()
        if name.startswith("time/") and name != "time/total_s"
    ]
    figures = {name: metrics[name] for name in (*FIGURES, *objectives) if name in metrics}
    figures |= {
        name: metrics[f"{shipped}/{name}"]
        for name in ("size_mb", "latency_p50_ms")
        if f"{shipped}/{name}" in metrics
    }
    figures |= {"training_s": sum(phases)} if phases else {}
    layers = params.get("model.num_hidden_layers", "None")
    return Row(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name,
        status=status_of(run),
        reason=reason_of(run),
        model=model_label(
            params.get("model.name_or_path", ""), None if layers == "None" else int(layers)
        ),
        dataset=params.get("dataset.name", ""),
        recipe=params.get("qat.name", ""),
        params=params,
        figures=figures,
        pareto=False,
    )


def _cost(rows: Sequence[Row]) -> str:
    """What accuracy is paid with: latency, or size where nothing was timed."""
    return "latency_p50_ms" if any("latency_p50_ms" in row.figures for row in rows) else "size_mb"


def _varying(rows: Sequence[Row]) -> tuple[str, ...]:
    keys = sorted({key for row in rows for key in row.params})
    names = [
        [row.model for row in rows],
        [row.dataset for row in rows],
        [row.recipe for row in rows],
    ]
    identities = ("model.", "dataset.", "qat.")

    def told_by_a_name(key: str) -> bool:
        prefix = next((i for i, prefix in enumerate(identities) if key.startswith(prefix)), None)
        if prefix is None:
            return False
        pairs = {
            (name, row.params.get(key, "")) for name, row in zip(names[prefix], rows, strict=True)
        }
        return len(pairs) == len(set(names[prefix]))

    differing = [key for key in keys if len({row.params.get(key, "") for row in rows}) > 1]
    return tuple(key for key in differing if not told_by_a_name(key))
