"""Prepare views of an experiment for the MLflow UI: columns, their order, filter and charts.

The UI reads a view from a tag of the experiment and lists those with a name in its menu of views
(MLflow 3.17: useSharedExperimentViewState, ExperimentPageUIState and runs-charts.types of its
server's JavaScript).
"""

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.objectives import higher_is_better
from pipeline.names import (
    ACCURACY,
    ACCURACY_DROP,
    BASELINE_TAG,
    DEFAULT_OBJECTIVE,
    FAILURE_TAG,
    LATENCY_P50_MS,
    LINEAR,
    PARENT_TAG,
    SHIPPED_TAG,
    SIZE_MB,
    SPEEDUP,
    TOTAL_TIME,
    TRAIN_LEARNING_RATE,
    TRAIN_LOSS,
    VALIDATION_ACCURACY,
    VALIDATION_LOSS,
    figure_of,
)

PREFIX = "mlflow.sharedViewState."
RUNS = "runs"
JOBS = "jobs-{}"  # of a sweep, by its run's id
WORKFLOW = "workflowType=machine_learning"  # MLflow 3.17 opens on its GenAI pages otherwise
MADE_AT = 1  # what says that nobody has saved other columns or charts under the view's name
RECIPE, MODEL, LAYERS = "qat.name", "model.name_or_path", "model.num_hidden_layers"
DATASET, RATE = "dataset.name", "trainer.learning_rate"
COLUMNS = (
    *(f"metrics.`{name}`" for name in (DEFAULT_OBJECTIVE, ACCURACY)),
    f"metrics.`{figure_of(LINEAR, ACCURACY)}`",
    *(
        f"metrics.`{name}`"
        for name in (ACCURACY_DROP, SIZE_MB, LATENCY_P50_MS, SPEEDUP, TOTAL_TIME)
    ),
    *(f"params.`{name}`" for name in (RECIPE, MODEL, LAYERS, DATASET, RATE)),
    *(f"tags.`{name}`" for name in (SHIPPED_TAG, BASELINE_TAG, FAILURE_TAG)),
)
CURVES = (VALIDATION_ACCURACY, VALIDATION_LOSS, TRAIN_LOSS, TRAIN_LEARNING_RATE)
COMPARED_RUNS = 100  # that a chart shows
Charts = Mapping[str, Sequence[Mapping[str, Any]]]
"""Charts, as the UI writes them, by the title of their section."""


@dataclass(frozen=True)
class View:
    """A view of an experiment's runs.

    Args:
        name: what the menu shows.
        charts: charts, if it opens on these.
        grouped_by: parameter whose runs are shown as their mean; None shows each run.
    """

    name: str
    charts: Charts | None = None
    grouped_by: str | None = None


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}


def _bar(name: str) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": name}


def _curve(name: str) -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": name,
        "selectedMetricKeys": [name],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


COMPARED = (DEFAULT_OBJECTIVE, ACCURACY, LATENCY_P50_MS, SIZE_MB)
VIEWS: Mapping[str, View] = {
    RUNS: View("1 runs, best first"),
    "accuracy-latency": View(
        "2 accuracy against latency",
        {
            "The shipped file: accuracy against latency": [
                {
                    "type": "SCATTER",
                    "xaxis": _metric(LATENCY_P50_MS),
                    "yaxis": _metric(accuracy),
                }
                for accuracy in (ACCURACY, DEFAULT_OBJECTIVE)
            ],
            "What leads where": [
                {
                    "type": "PARALLEL",
                    "selectedParams": [RECIPE, LAYERS, RATE],
                    "selectedMetrics": [SIZE_MB, LATENCY_P50_MS, DEFAULT_OBJECTIVE],
                    "showAllRuns": True,
                }
            ],
        },
    ),
    "recipes": View(
        "3 recipes, means of their runs",
        {
            "Means of the runs of each recipe": [
                _bar(name) for name in (*COMPARED, ACCURACY_DROP, TOTAL_TIME)
            ]
        },
        grouped_by=RECIPE,
    ),
    "training": View("4 training", {"Curves": [_curve(name) for name in CURVES]}),
}


def view_tags() -> dict[str, str]:
    """Return the tags of an experiment that hold its views."""
    return {
        f"{PREFIX}{key}": json.dumps(
            {
                "name": view.name,
                "createdAt": MADE_AT,
                "updatedAt": MADE_AT,
                "state": _deflated(_state(view)),
            }
        )
        for key, view in VIEWS.items()
    }


def outdated(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the views that an experiment lacks, or has from another version of this package.

    Args:
        tags: tags of the experiment. A view that somebody has saved anew in the UI stays.
    """
    return {
        tag: value
        for tag, value in view_tags().items()
        if tags.get(tag) != value and not _is_edited(tags.get(tag))
    }


def jobs_view(run_id: str, objective: str) -> tuple[str, str]:
    """Return the tag of an experiment with the view of a sweep's jobs, which no menu lists.

    Args:
        run_id: id of the sweep's run.
        objective: figure that the best job is chosen by.
    """
    state = _state(VIEWS[RUNS]) | {
        "searchFilter": f"tags.`{PARENT_TAG}` = '{run_id}'",
        "orderByKey": f"metrics.`{objective}`",
        "orderByAsc": not higher_is_better(objective),
    }
    if (column := f"metrics.`{objective}`") not in COLUMNS:
        columns = [column, *COLUMNS]
        state |= {"selectedColumns": columns, "columnOrder": columns}
    return f"{PREFIX}{JOBS.format(run_id)}", _deflated(state)


def runs_place(
    experiment_id: str, sweep_id: str | None = None, tags: Mapping[str, str] | None = None
) -> str:
    """Return what the UI's address has after the server's, for the runs of an experiment.

    Args:
        experiment_id: id of the experiment.
        sweep_id: id of a sweep's run, for its jobs alone.
        tags: tags of the experiment, which may lack the view, as one of an earlier version does;
            None if it is known to be there.
    """
    place = f"/#/experiments/{experiment_id}/runs?{WORKFLOW}"
    keys = [RUNS] if sweep_id is None else [JOBS.format(sweep_id), RUNS]
    there = [key for key in keys if tags is None or f"{PREFIX}{key}" in tags]
    return f"{place}&viewStateShareKey={there[0]}" if there else place


def experiments_place() -> str:
    """Return what the UI's address has after the server's, for the list of experiments."""
    return f"/#/experiments?{WORKFLOW}"


def run_place(experiment_id: str, run_id: str) -> str:
    """Return what the UI's address has after the server's, for one run."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{WORKFLOW}"


def _is_edited(tag: str | None) -> bool:
    if tag is None:
        return False
    try:
        return bool(json.loads(tag).get("updatedAt") != MADE_AT)
    except (ValueError, AttributeError):
        return False


def _state(view: View) -> dict[str, Any]:
    group = None
    if view.grouped_by is not None:
        by = [{"mode": "param", "groupByData": view.grouped_by}]
        group = {"aggregateFunction": "average", "groupByKeys": by}
    return {
        "searchFilter": "",
        "orderByKey": f"metrics.`{DEFAULT_OBJECTIVE}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(COLUMNS),
        "columnOrder": list(COLUMNS),
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "viewMaximized": view.charts is None,
        "runListHidden": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": group,
        "groupsExpanded": {},
        "isAccordionReordered": True,  # else the sections would be sorted by name
    } | _charts(view.charts)


def _charts(charts: Charts | None) -> dict[str, Any]:
    if charts is None:
        return {}
    return {"compareRunCharts": list(_cards(charts)), "compareRunSections": list(_sections(charts))}


def _sections(charts: Charts) -> Iterator[dict[str, Any]]:
    for title in charts:
        yield {
            "uuid": title,
            "name": title,
            "display": True,
            "isReordered": True,
            "deleted": False,
            "isGenerated": False,
        }


def _cards(charts: Charts) -> Iterator[dict[str, Any]]:
    for title, cards in charts.items():
        for number, card in enumerate(cards):
            yield {
                "uuid": f"{title} {number}",
                "metricSectionId": title,
                "deleted": False,
                "isGenerated": False,
                "runsCountToCompare": COMPARED_RUNS,
                **card,
            }


def _deflated(state: Mapping[str, Any]) -> str:
    """Compress a view as the UI does: a tag has room for 5,000 characters."""
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
