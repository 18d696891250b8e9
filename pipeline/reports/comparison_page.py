"""Write a comparison as one HTML page: table, scatter plot and parallel coordinates."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pipeline.comparison.comparison import (
    PARETO,
    RUN,
    RUN_ID,
    STATUS,
    Comparison,
    number,
)
from pipeline.comparison.differences import RECIPE
from pipeline.comparison.rows import Row
from pipeline.config.objectives import higher_is_better
from pipeline.names import LINEAR, figure_of
from pipeline.reports.html import Cell, HtmlTable, Line, script_json, trusted, write_html
from pipeline.reports.wording import axis_title, cell, heading

STAR = "★"
# Okabe and Ito's palette with a shape each, for colour-blind readers (jfly.uni-koeln.de/color).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up")
MAX_TICKS = 4  # numbers of a parameter that are spaced evenly; more get an axis to scale


@dataclass(frozen=True)
class Plot:
    """A plot of the page.

    Args:
        heading: text above the plot.
        figure: plotly's figure.
    """

    heading: str
    figure: go.Figure


@dataclass(frozen=True)
class Section:
    """What the page shows of one corpus.

    Args:
        heading: name of the corpus; empty if there is one corpus alone.
        table: its runs.
        notes: what the table says.
        plots: its plots.
    """

    heading: str
    table: HtmlTable
    notes: Sequence[str]
    plots: Sequence[Plot]


def write_page(comparisons: Sequence[Comparison], title: str, ui: str, file: Path) -> None:
    """Write the page of a comparison.

    Args:
        comparisons: compared runs of each corpus.
        title: heading of the page.
        ui: address of the MLflow UI, in which a run's name opens the run.
        file: file to write.
    """
    sections = [_section(comparison, ui, len(comparisons) > 1) for comparison in comparisons]
    figures = [plot.figure.to_json() for section in sections for plot in section.plots]
    write_html(
        "comparison_page.html",
        file,
        title=title,
        sections=sections,
        plotly=trusted(get_plotlyjs()),
        figures=script_json([json.loads(figure) for figure in figures]),
    )


def _section(comparison: Comparison, ui: str, named: bool) -> Section:
    plots = [plot for plot in (_scatter(comparison), _parallel(comparison)) if plot is not None]
    heading = comparison.rows[0].dataset if named else ""
    return Section(heading, _table(comparison, ui), _notes(comparison), plots)


def _notes(comparison: Comparison) -> list[str]:
    objectives = " and ".join(comparison.objectives)
    optimal = (
        f"{STAR} Pareto-optimal in {objectives}: "
        "no other run is better in one and as good in the other."
    )
    return [optimal, *comparison.lines]


def _table(comparison: Comparison, ui: str) -> HtmlTable:
    frame = comparison.table().drop(columns=[RUN_ID, *comparison.shared_identity])
    headings = [Cell(STAR if name == PARETO else heading(name)) for name in frame.columns]
    lines = [
        Line(
            [_cell(row, str(name), value, ui) for name, value in values.items()],
            kind="optimal" if row.pareto else "",
        )
        for row, values in zip(comparison.rows, frame.to_dict("records"), strict=True)
    ]
    return HtmlTable(headings, lines, sortable=True)


def _cell(row: Row, name: str, value: object, ui: str) -> Cell:
    text = cell(name, value)
    if name == PARETO:
        text = STAR if row.pareto else ""
    return Cell(
        text=text,
        kind="number" if isinstance(value, int | float) else "",
        sort_value="" if isinstance(value, float) and isnan(value) else str(value),
        tooltip=row.reason if name == STATUS else "",
        link=f"{ui}/#/experiments/{row.experiment_id}/runs/{row.run_id}" if name == RUN else "",
    )


def _scatter(comparison: Comparison) -> Plot | None:
    """Plot the first objective against the second; there is no plot if no run has both."""
    upward, across = comparison.objectives[:2]
    rows = [row for row in comparison.rows if {upward, across} <= row.figures.keys()]
    if not rows:
        return None
    figure = go.Figure()
    front = sorted((row for row in rows if row.pareto), key=lambda row: row.figures[across])
    shape = "hv" if higher_is_better(upward) else "vh"
    figure.add_scatter(
        x=[row.figures[across] for row in front],
        y=[row.figures[upward] for row in front],
        mode="lines",
        line={"color": "#555555", "dash": "dot", "shape": shape},
        name="Pareto front",
        hoverinfo="skip",
    )
    if (linear := _linear(comparison, upward)) is not None:
        label = {"text": "linear model", "textposition": "start"}
        figure.add_hline(y=linear, line={"color": "#999999", "dash": "dash"}, label=label)
    for index, kind in enumerate(dict.fromkeys((row.model, row.recipe) for row in rows)):
        of_kind = [row for row in rows if (row.model, row.recipe) == kind]
        figure.add_scatter(
            x=[row.figures[across] for row in of_kind],
            y=[row.figures[upward] for row in of_kind],
            mode="markers",
            name=" · ".join(kind),
            marker=_markers(of_kind, index),
            text=[_tooltip(row, comparison) for row in of_kind],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_layout(
        xaxis_title=axis_title(across),
        yaxis_title=axis_title(upward),
        template="plotly_white",
        margin={"t": 20},
        legend={"orientation": "h", "y": -0.2},
    )
    return Plot(f"{axis_title(upward)} against {axis_title(across)}", figure)


def _linear(comparison: Comparison, figure: str) -> float | None:
    """Return a figure of the linear model, if the runs have one that was trained alike."""
    name = figure_of(LINEAR, figure)
    values = {row.figures[name] for row in comparison.rows if name in row.figures}
    return values.pop() if len(values) == 1 else None


def _markers(rows: Sequence[Row], index: int) -> dict[str, object]:
    """Choose the markers of the runs of one model and recipe, larger for Pareto-optimal ones."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "symbol": SYMBOLS[index % len(SYMBOLS)],
        "size": [14 if row.pareto else 9 for row in rows],
        "line": {"color": "#222222", "width": [2 if row.pareto else 0 for row in rows]},
    }


def _tooltip(row: Row, comparison: Comparison) -> Markup:
    lines = [Markup("<b>{}</b>").format(row.name)]
    lines += [Markup("{} = {}").format(key, row.params.get(key, "")) for key in comparison.varying]
    lines += [
        Markup("{} {}").format(heading(name), cell(name, value))
        for name, value in row.figures.items()
    ]
    return Markup("<br>").join(lines)


def _parallel(comparison: Comparison) -> Plot | None:
    """Plot parameters beside objectives, a line for each run, if a parameter differs."""
    objective = comparison.objectives[0]
    rows = [row for row in comparison.rows if objective in row.figures]
    columns = {
        "model": [row.model for row in rows],
        RECIPE: [row.recipe for row in rows],
        **{key: [row.params.get(key, "") for row in rows] for key in comparison.varying},
    }
    dimensions = [
        _dimension(key, values) for key, values in columns.items() if len(set(values)) > 1
    ]
    if not dimensions:
        return None
    for name in comparison.objectives:
        if all(name in row.figures for row in rows):
            values = [row.figures[name] for row in rows]
            dimensions.append({"label": axis_title(name), "values": values})
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": [row.figures[objective] for row in rows],
                "colorscale": "Cividis",
                "showscale": True,
                "colorbar": {"title": axis_title(objective)},
            },
            labelangle=-15,
        )
    )
    figure.update_layout(template="plotly_white", margin={"t": 90, "l": 110})
    return Plot("What was swept, and what it gave", figure)


def _dimension(key: str, texts: Sequence[str]) -> dict[str, object]:
    label = key.removeprefix("trainer.")
    values = [number(text) for text in texts]
    if all(isinstance(value, int | float) for value in values) and len(set(values)) > MAX_TICKS:
        return {"label": label, "values": values}
    ticks = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    return {
        "label": label,
        "values": [ticks.index(value) for value in values],
        "tickvals": list(range(len(ticks))),
        "ticktext": [str(tick) for tick in ticks],
    }
