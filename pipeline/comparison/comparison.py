"""Put runs beside each other: what differs, their figures, and which are Pareto-optimal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.comparison.differences import (
    DATA,
    IDENTITY,
    RECIPE_GROUPS,
    Difference,
    Group,
    differences,
    groups,
)
from pipeline.comparison.front import pareto_front
from pipeline.config.identity import (
    GROUPS_WITHOUT_EFFECT,
    TRAINER_KEYS_WITHOUT_EFFECT,
    comparable_params,
)
from pipeline.config.objectives import gain
from pipeline.names import (
    ACCURACY,
    ACCURACY_DROP,
    DEFAULT_OBJECTIVE,
    F1_MACRO,
    FINISHED,
    FP32,
    INT8,
    LATENCY_P50_MS,
    LINEAR,
    LOSS,
    SHIPPED_TAG,
    SIZE_MB,
    SPEEDUP,
    TEST,
    TIME,
    TOTAL_TIME,
    VALIDATION,
    figure_of,
    interval_of,
)
from pipeline.tracking.lookup import digests_of, last_attempts, reason_of, status_of
from pipeline.tracking.run_names import model_label

if TYPE_CHECKING:
    from mlflow.entities import Run

TRAINING_S = "training_s"  # summed here over the stages of a run; runs do not log it
FIGURES = (
    DEFAULT_OBJECTIVE,
    ACCURACY,
    *interval_of(ACCURACY),
    ACCURACY_DROP,
    LOSS,
    F1_MACRO,
    *interval_of(F1_MACRO),
    SIZE_MB,
    LATENCY_P50_MS,
    SPEEDUP,
    TRAINING_S,
    figure_of(LINEAR, DEFAULT_OBJECTIVE),
    figure_of(LINEAR, ACCURACY),
)
# Columns of a comparison's table beside the identity, the parameters and the figures of a run.
PARETO = "pareto"
RUN = "run"
STATUS = "status"
RUN_ID = "run_id"
# The groups of parameters that each part of a run's identity stands for.
PARAMETER_GROUPS = dict(
    zip(IDENTITY, (("model.",), ("dataset.",), ("qat.", *RECIPE_GROUPS)), strict=True)
)
MEASURED_ON = (VALIDATION, TEST)
# Parameters that change no figure, so that they tell no runs apart.
WITHOUT_EFFECT = (
    *(f"trainer.{key}" for key in TRAINER_KEYS_WITHOUT_EFFECT),
    *GROUPS_WITHOUT_EFFECT,
    "benchmark.repetitions",
    "benchmark.seconds",
)
# What a teacher or pruning is told apart by, where its options go together with it.
TELLING = ("distillation.teacher", "pruning.pruning_type")


@dataclass(frozen=True)
class Row:
    """One run of a comparison.

    Args:
        run_id: id of the run in MLflow.
        experiment_id: id of its experiment.
        name: name of the run.
        status: its status in MLflow, or PRUNED if a sweep's pruner stopped it.
        reason: why it did not finish; empty if it did.
        model: name of the encoder, with the number of layers that are kept.
        dataset: name of the corpus.
        data: digests of the validation and the test split; empty if the run has not logged them.
        recipe: name of the training recipe, and whether it had a teacher or pruning.
        params: every parameter by its dotted key.
        figures: those of FIGURES and of the objectives that the run has, by name; figures without
            a variant's prefix are those of the shipped artifact.
        pareto: whether no other run is at least as good in every objective and better in one.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    reason: str
    model: str
    dataset: str
    data: str
    recipe: str
    params: Mapping[str, str]
    figures: Mapping[str, float]
    pareto: bool

    @property
    def identity(self) -> dict[str, str]:
        """Return model, dataset and recipe by these names."""
        return dict(zip(IDENTITY, (self.model, self.dataset, self.recipe), strict=True))


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
                is the only one, the second is the latency, or the size where nothing was timed.
        """
        return cls.of_rows([row_of(run, objectives) for run in last_attempts(runs)], objectives)

    @classmethod
    def of_rows(cls, rows: Sequence[Row], objectives: Sequence[str]) -> "Comparison":
        """Compare runs, as row_of() has read them.

        Args:
            rows: runs on the same texts.
            objectives: as for of().
        """
        axes = list(objectives) if len(objectives) > 1 else [objectives[0], _cost(rows)]
        points = [[row.figures.get(name, nan) for name in axes] for row in rows]
        rows = [
            replace(row, pareto=optimal)
            for row, optimal in zip(rows, pareto_front(points, axes), strict=True)
        ]
        figure = objectives[0]
        rows.sort(
            key=lambda row: -gain(figure, row.figures[figure]) if figure in row.figures else inf
        )
        varying = _varying(rows)
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
            f"{best.figures[figure]:.4g}, which is too good by chance for having been chosen"
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


def row_of(run: "Run", objectives: Sequence[str]) -> Row:
    """Read a run.

    Args:
        run: the run as MLflow has it.
        objectives: names of figures that it is compared by.
    """
    params = comparable_params(run.data.params)
    layers = params.get("model.layers", "None")
    depth = params.get("model.num_hidden_layers", "None")
    if layers != "None":
        depth = str(layers.count(",") + 1)
    digests = digests_of(run)
    return Row(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name,
        status=status_of(run),
        reason=reason_of(run),
        model=model_label(
            params.get("model.name_or_path", ""), None if depth == "None" else int(depth)
        ),
        dataset=params.get("dataset.name", ""),
        data="/".join(digests[name] for name in MEASURED_ON if name in digests),
        recipe=_recipe(params),
        params=params,
        figures=_figures(run, objectives),
        pareto=False,
    )


def _recipe(params: Mapping[str, str]) -> str:
    """Name a recipe like run_names.recipe_label()."""
    extras = [
        group for group in RECIPE_GROUPS if any(key.startswith(f"{group}.") for key in params)
    ]
    return "+".join([params.get("qat.name", ""), *extras])


def _figures(run: "Run", objectives: Sequence[str]) -> dict[str, float]:
    metrics = run.data.metrics
    trained = INT8 if figure_of(INT8, ACCURACY) in metrics else FP32
    shipped = run.data.tags.get(SHIPPED_TAG) or trained
    figures = {name: metrics[name] for name in (*FIGURES, *objectives) if name in metrics}
    for name in (DEFAULT_OBJECTIVE, SIZE_MB, LATENCY_P50_MS):
        if figure_of(shipped, name) in metrics:
            figures[name] = metrics[figure_of(shipped, name)]
    stages = [
        seconds
        for name, seconds in metrics.items()
        if name.startswith(f"{TIME}/") and name != TOTAL_TIME
    ]
    if stages:
        figures[TRAINING_S] = sum(stages)
    return figures


def _cost(rows: Sequence[Row]) -> str:
    """Name the figure that accuracy is paid with: latency, or size where nothing was timed."""
    return LATENCY_P50_MS if any(LATENCY_P50_MS in row.figures for row in rows) else SIZE_MB


def _varying(rows: Sequence[Row]) -> tuple[str, ...]:
    keys = sorted({key for row in rows for key in row.params if not key.startswith(WITHOUT_EFFECT)})
    differing = [key for key in keys if len({row.params.get(key, "") for row in rows}) > 1]
    telling = [key for key in differing if not _follows_from_identity(key, rows)]
    return tuple(key for key in telling if not _goes_with_another(key, telling, rows))


def _goes_with_another(key: str, keys: Sequence[str], rows: Sequence[Row]) -> bool:
    """Say whether an option of a teacher or of pruning tells the runs apart as another one does."""
    group = key.partition(".")[0]
    if group not in RECIPE_GROUPS:
        return False
    rivals = [other for other in keys if other.partition(".")[0] == group]
    for other in sorted(rivals, key=lambda each: each not in TELLING):
        if other == key:
            return False
        pairs = {(row.params.get(key, ""), row.params.get(other, "")) for row in rows}
        if len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs}):
            return True
    return False


def _follows_from_identity(key: str, rows: Sequence[Row]) -> bool:
    """Say whether a parameter is the same in all runs of its model, dataset or recipe."""
    for part, groups_of_part in PARAMETER_GROUPS.items():
        if key.startswith(groups_of_part):
            pairs = {(row.identity[part], row.params.get(key, "")) for row in rows}
            return len(pairs) == len({name for name, _ in pairs})
    return False
