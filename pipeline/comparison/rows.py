"""Read from a run of MLflow what a comparison puts beside those of others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.comparison.differences import IDENTITY, RECIPE_GROUPS
from pipeline.config.identity import comparable_params
from pipeline.names import (
    ACCURACY,
    ACCURACY_DROP,
    DEFAULT_OBJECTIVE,
    F1_MACRO,
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
    time_of,
)
from pipeline.tracking.lookup import digests_of, reason_of, status_of
from pipeline.tracking.run_names import model_label

if TYPE_CHECKING:
    from mlflow.entities import Run

# Summed here over the stages of a run's recipe; runs do not log it. The linear model is no part of
# it: the first run on a corpus trains that for all.
TRAINING_S = "training_s"
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
MEASURED_ON = (VALIDATION, TEST)


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
        pareto: whether it is FINISHED, and no other finished run is at least as good in every
            objective and better in one.
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
    return Row(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name,
        status=status_of(run),
        reason=reason_of(run),
        model=model_label(
            params.get("model.name_or_path", ""), None if depth == "None" else int(depth)
        ),
        dataset=dataset_of(run),
        data=measured_on(run),
        recipe=_recipe(params),
        params=params,
        figures=_figures(run, objectives),
        pareto=False,
    )


def measured_on(run: "Run") -> str:
    """Return the digests of the texts that a run's figures are of, validation and test.

    Args:
        run: the run as MLflow has it.

    Returns:
        The digests; empty if the run has not logged them.
    """
    digests = digests_of(run)
    return "/".join(digests[name] for name in MEASURED_ON if name in digests)


def dataset_of(run: "Run") -> str:
    """Return the name of a run's corpus; empty if it has not logged its parameters."""
    return str(run.data.params.get("dataset.name", ""))


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
        if name.startswith(f"{TIME}/") and name not in (TOTAL_TIME, time_of(LINEAR))
    ]
    if stages:
        figures[TRAINING_S] = sum(stages)
    return figures
