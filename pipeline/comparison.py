"""Runs side by side: what differs, what it gave, what is Pareto-optimal, and which differences are more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan, sqrt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.figures import higher_is_better
from pipeline.store import FAILURE_TAG, HASH_TAG, PARENT_TAG, PRUNED_TAG, SHIPPED_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run
    from rich.table import Table

CONFIDENCE = 0.95
SEEDS = ("trainer.seed", "trainer.data_seed")
MANY = 4  # values of a key that are compared pair by pair, at most
DECIMALS = {"size_mb": 1, "latency_p50_ms": 2, "speedup": 1, "training_s": 0}
MISSING = float("nan")


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
class Group:
    """Runs of one configuration that differ in their seeds only.

    Args:
        label: what the configuration is, in the keys that differ.
        figure: what was measured.
        values: one for each seed.
    """

    label: str
    figure: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds (n - 1 in the denominator)."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else MISSING

    @property
    def line(self) -> str:
        """The group in words."""
        spread = f"± {self.spread:.4f}" if len(self.values) > 1 else "(one seed)"
        return f"{self.label}: {self.figure} {self.mean:.4f} {spread}, n = {len(self.values)}"


@dataclass(frozen=True)
class Difference:
    """What one value of a key gains over another, from pairs of runs that are alike in all else, seed included.

    Args:
        key: that differs.
        first, second: its values.
        figure: what was measured.
        mean: of first minus second over the pairs.
        low, high: the confidence interval of the mean (Student's t over the pairs); not a number with one pair.
        pairs: how many there are.
    """

    key: str
    first: str
    second: str
    figure: str
    mean: float
    low: float
    high: float
    pairs: int

    @property
    def line(self) -> str:
        """The difference in words."""
        what = f"{self.key}: {self.first} against {self.second}: {self.figure} {self.mean:+.4f}"
        if isnan(self.low):
            return f"{what} in 1 pair: too little to tell from noise; repeat it with more seeds (trainer.seed=1,2,3)"
        verdict = "within noise" if self.low <= 0 <= self.high else "more than noise"
        return f"{what}, 95 % confidence interval {self.low:+.4f} to {self.high:+.4f} over {self.pairs} pairs: {verdict}"


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
        optimal = pareto_front([[row.figures.get(name, MISSING) for name in axes] for row in bare], axes)
        rows = [Row(**{**vars(row), "pareto": best}) for row, best in zip(bare, optimal, strict=True)]
        sign = -1 if higher_is_better(objectives[0]) else 1

        def position(row: Row) -> tuple[bool, float]:
            value = row.figures.get(objectives[0], MISSING)
            return isnan(value), 0.0 if isnan(value) else sign * value

        rows.sort(key=position)
        varying = _varying(rows)
        finished = [row for row in rows if row.status == "FINISHED" and objectives[0] in row.figures]
        return cls(
            tuple(rows),
            varying,
            tuple(axes),
            _groups(finished, varying, objectives[0]),
            _differences(finished, varying, objectives[0]),
        )

    def table(self) -> pd.DataFrame:
        """One line for each run: what differs, the figures, the status; columns that would be empty are left out."""
        shown = list(dict.fromkeys([*self.objectives, *_FIGURES]))
        lines = []
        for row in self.rows:
            line: dict[str, object] = {"pareto": "*" if row.pareto else "", "run": row.name}
            line |= {"model": row.model, "dataset": row.dataset, "recipe": row.recipe}
            line |= {key: number(row.params.get(key, "")) for key in self.varying}
            line |= {name: row.figures.get(name, MISSING) for name in shown}
            lines.append({**line, "status": row.status, "run_id": row.run_id})
        frame = pd.DataFrame(lines)
        return frame.drop(columns=[name for name in shown if frame[name].isna().all()])

    def show(self, title: str) -> None:
        """Print the comparison; on a narrow terminal without the columns that matter least."""
        from rich.console import Console
        from rich.text import Text

        console = Console()
        if not console.is_terminal:
            console = Console(width=160)
        frame = self.table().drop(columns="run_id")
        constant = [name for name in ("model", "dataset", "recipe") if frame[name].nunique() == 1]
        told = [name for name in ("model", "dataset", "recipe") if name not in constant]
        frame = frame.drop(columns=[*constant, "run"] if self.varying or told else constant)
        title += "".join(f", {name} {getattr(self.rows[0], name)}" for name in constant)
        if (frame["status"] == "FINISHED").all():
            frame = frame.drop(columns="status")
        spare = [name for name in SPARE if name in frame.columns and name not in self.objectives]
        while console.measure(printed := _printed(frame, title)).maximum > console.width and spare:
            frame = frame.drop(columns=spare.pop(0))
        console.print(printed)
        console.print(Text(f"* Pareto-optimal in {' and '.join(self.objectives)}"))
        for line in [*(group.line for group in self.groups), *(difference.line for difference in self.differences)]:
            console.print(Text(line), soft_wrap=True)


_FIGURES = ("accuracy", "accuracy_drop", "loss", "f1_macro", "size_mb", "latency_p50_ms", "speedup", "training_s")
SPARE = ("training_s", "loss", "f1_macro", "size_mb", "dataset")  # given up first where there is little room
HEADERS = {
    "pareto": " ",
    "accuracy_drop": "drop",
    "f1_macro": "macro F1",
    "size_mb": "MB",
    "latency_p50_ms": "p50 (ms)",
    "training_s": "train (s)",
}


def _printed(frame: pd.DataFrame, title: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    printed = Table(title=Text(title), title_justify="left")
    for name in frame.columns:
        right = pd.api.types.is_numeric_dtype(frame[name])
        printed.add_column(heading(name), justify="right" if right else "left")
    for line in frame.to_dict("records"):
        printed.add_row(*(Text(cell(str(name), value)) for name, value in line.items()))
    return printed


def heading(name: str) -> str:
    """Name a column shortly: trainer.learning_rate is lr."""
    return HEADERS.get(name) or name.removeprefix("trainer.").replace("learning_rate", "lr").replace(
        "latency_p50_ms", "p50 (ms)"
    )


def cell(name: str, value: object) -> str:
    """Write a value with as many decimals as its column tells apart."""
    if not isinstance(value, float):
        return str(value)
    if isnan(value):
        return ""
    figure = name.rpartition("/")[2]
    return f"{value:.{DECIMALS.get(figure, 4)}f}" if figure in (*DECIMALS, *_FIGURES) else f"{value:.4g}"


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
    signs = np.array([1.0 if higher_is_better(name) else -1.0 for name in names])
    values = np.asarray(points, dtype=float) * signs
    complete = ~np.isnan(values).any(axis=1)
    optimal = []
    for index, point in enumerate(values):
        others = values[complete]
        dominated = ((others >= point).all(axis=1) & (others > point).any(axis=1)).any()
        optimal.append(bool(complete[index] and not dominated))
    return optimal


def paired_interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and confidence interval of paired differences (Student's t, n - 1 degrees of freedom).

    Args:
        differences: one for each pair.
    """
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return mean, MISSING, MISSING
    half = float(
        stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1) * np.std(differences, ddof=1) / sqrt(len(differences))
    )
    return mean, mean - half, mean + half


def _last_attempts(runs: "Sequence[Run]") -> "list[Run]":
    """Leave out unfinished runs of a sweep that were repeated under the same parent later."""

    def job(run: "Run") -> tuple[str | None, str | None]:
        return run.data.tags.get(PARENT_TAG), run.data.tags.get(HASH_TAG)

    last = {job(run): run.info.run_id for run in sorted(runs, key=lambda run: run.info.start_time)}
    return [run for run in runs if run.info.status == "FINISHED" or None in job(run) or last[job(run)] == run.info.run_id]


def _row(run: "Run", objectives: Sequence[str]) -> Row:
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    shipped = tags.get(SHIPPED_TAG) or ("int8" if "int8/accuracy" in metrics else "fp32")
    phases = [value for name, value in metrics.items() if name.startswith("time/") and name != "time/total_s"]
    figures = {name: metrics[name] for name in (*_FIGURES, *objectives) if name in metrics}
    figures |= {name: metrics[f"{shipped}/{name}"] for name in ("size_mb", "latency_p50_ms") if f"{shipped}/{name}" in metrics}
    figures |= {"training_s": sum(phases)} if phases else {}
    layers = params.get("model.num_hidden_layers", "None")
    model = params.get("model.name_or_path", "").rstrip("/").rpartition("/")[2]
    return Row(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name,
        status="PRUNED" if PRUNED_TAG in tags else run.info.status,
        reason=tags.get(PRUNED_TAG) or tags.get(FAILURE_TAG, ""),
        model=model if layers == "None" else f"{model}-{layers}L",
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
    names = [[row.model for row in rows], [row.dataset for row in rows], [row.recipe for row in rows]]
    identities = ("model.", "dataset.", "qat.")

    def told_by_a_name(key: str) -> bool:
        prefix = next((i for i, prefix in enumerate(identities) if key.startswith(prefix)), None)
        if prefix is None:
            return False
        pairs = {(name, row.params.get(key, "")) for name, row in zip(names[prefix], rows, strict=True)}
        return len(pairs) == len(set(names[prefix]))

    differing = [key for key in keys if len({row.params.get(key, "") for row in rows}) > 1]
    return tuple(key for key in differing if not told_by_a_name(key))


def _choice(row: Row, keys: Sequence[str]) -> tuple[str, ...]:
    return (row.model, row.dataset, row.recipe, *(row.params.get(key, "") for key in keys))


def _groups(rows: Sequence[Row], varying: Sequence[str], figure: str) -> tuple[Group, ...]:
    keys = [key for key in varying if key not in SEEDS]
    found: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        found.setdefault(_choice(row, keys), []).append(row.figures[figure])
    if all(len(values) == 1 for values in found.values()):
        return ()
    names = ["", "", "", *(f"{key.removeprefix('trainer.')} " for key in keys)]
    differing = [index for index in range(3 + len(keys)) if len({choice[index] for choice in found}) > 1] or [2]
    groups = [
        Group(", ".join(f"{names[index]}{choice[index]}" for index in differing), figure, tuple(values))
        for choice, values in found.items()
    ]
    return tuple(sorted(groups, key=lambda group: -group.mean if higher_is_better(figure) else group.mean))


def _differences(rows: Sequence[Row], varying: Sequence[str], figure: str) -> tuple[Difference, ...]:
    keys = ["recipe", "model", *(key for key in varying if key not in SEEDS)]
    found = []
    for key in keys:
        by_value: dict[str, dict[tuple[str, ...], float]] = {}
        others = [other for other in varying if other != key]
        for row in rows:
            value = getattr(row, key) if key in ("recipe", "model") else row.params.get(key, "")
            alike = _choice(row, others)
            blind = tuple("" if (index, key) in ((0, "model"), (2, "recipe")) else part for index, part in enumerate(alike))
            by_value.setdefault(value, {})[blind] = row.figures[figure]
        if not 2 <= len(by_value) <= MANY:
            continue
        for first, second in combinations(sorted(by_value), 2):
            alike_in_both = sorted(by_value[first].keys() & by_value[second].keys())
            if alike_in_both:
                gains = [by_value[first][alike] - by_value[second][alike] for alike in alike_in_both]
                found.append(Difference(key, first, second, figure, *paired_interval(gains), len(gains)))
    return tuple(found)
