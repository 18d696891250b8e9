"""A comparison as one HTML file that opens offline: table, accuracy against cost, parallel coordinates."""

import html
import json
from math import isnan
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from pipeline.comparison.comparison import Comparison, Row, number
from pipeline.config.objectives import higher_is_better
from pipeline.reports.comparison_table import cell, heading
from pipeline.reports.html import ASSETS, write_html

# Okabe and Ito's palette and three shapes, told apart by colour-blind readers (jfly.uni-koeln.de/color).
STAR = "★"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up")
AXES = {
    "accuracy": "test accuracy",
    "latency_p50_ms": "p50 latency of one text (ms)",
    "size_mb": "size (MB)",
    "loss": "test loss (nats)",
    "f1_macro": "macro F1",
    "speedup": "speed-up over FP32 in PyTorch",
    "throughput_per_s": "texts a second",
}


def write_page(comparison: Comparison, title: str, ui: str, file: Path) -> None:
    """Write the page.

    Args:
        comparison: what to show.
        title: its heading.
        ui: address of the MLflow UI that the runs are linked to.
        file: to write.
    """
    plots = [plot for plot in (_scatter(comparison), _parallel(comparison)) if plot is not None]
    parts = {
        "title": html.escape(title),
        "script": (ASSETS / "comparison.js").read_text(encoding="utf-8"),
        "plotly": get_plotlyjs(),
        "table": _table(comparison, ui),
        "notes": "".join(f"<li>{html.escape(note)}</li>" for note in _notes(comparison)),
        "plots": "".join(
            f'<section><h2>{html.escape(heading)}</h2><div class="plot" id="plot{index}"></div></section>'
            for index, (heading, _) in enumerate(plots)
        ),
        # "</" would end the script that the figures stand in.
        "figures": json.dumps([json.loads(figure.to_json()) for _, figure in plots]).replace(
            "</", "<\\/"
        ),
    }
    write_html("comparison", parts, file)


def _notes(comparison: Comparison) -> list[str]:
    both = " and ".join(comparison.objectives)
    optimal = (
        f"{STAR} Pareto-optimal in {both}: no other run is better in one and as good in the other."
    )
    return [optimal, *comparison.lines]


def _table(comparison: Comparison, ui: str) -> str:
    frame = comparison.table()
    hidden = {"run_id"} | {
        name for name in ("model", "dataset", "recipe") if frame[name].nunique() == 1
    }
    columns = [name for name in frame.columns if name not in hidden]
    head = "".join(
        f'<th scope="col"><button type="button">{html.escape(_heading(name))}</button></th>'
        for name in columns
    )
    body = []
    for row, line in zip(comparison.rows, frame.to_dict("records"), strict=True):
        cells = "".join(_cell(row, name, line[name], ui) for name in columns)
        body.append(f'<tr class="optimal">{cells}</tr>' if row.pareto else f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _heading(name: str) -> str:
    return STAR if name == "pareto" else heading(name)


def _cell(row: Row, name: str, value: object, ui: str) -> str:
    text = html.escape(cell(name, value))
    if name == "pareto":
        text = STAR if row.pareto else ""
    elif name == "run":
        text = f'<a href="{html.escape(ui)}/#/experiments/{row.experiment_id}/runs/{row.run_id}">{text}</a>'
    elif name == "status" and row.reason:
        text = f'<span title="{html.escape(row.reason)}">{text}</span>'
    key = "" if isinstance(value, float) and isnan(value) else html.escape(str(value))
    numeric = ' class="number"' if isinstance(value, int | float) else ""
    return f'<td data-value="{key}"{numeric}>{text}</td>'


def _scatter(comparison: Comparison) -> tuple[str, go.Figure] | None:
    up, across = comparison.objectives[0], comparison.objectives[1]
    rows = [row for row in comparison.rows if {up, across} <= row.figures.keys()]
    if not rows:
        return None
    figure = go.Figure()
    front = sorted((row for row in rows if row.pareto), key=lambda row: row.figures[across])
    figure.add_scatter(
        x=[row.figures[across] for row in front],
        y=[row.figures[up] for row in front],
        mode="lines",
        line={"color": "#555555", "dash": "dot", "shape": "hv" if higher_is_better(up) else "vh"},
        name="Pareto front",
        hoverinfo="skip",
    )
    for index, kind in enumerate(dict.fromkeys((row.model, row.recipe) for row in rows)):
        of_kind = [row for row in rows if (row.model, row.recipe) == kind]
        figure.add_scatter(
            x=[row.figures[across] for row in of_kind],
            y=[row.figures[up] for row in of_kind],
            mode="markers",
            name=" · ".join(kind),
            marker={
                "color": COLOURS[index % len(COLOURS)],
                "symbol": SYMBOLS[index % len(SYMBOLS)],
                "size": [14 if row.pareto else 9 for row in of_kind],
                "line": {"color": "#222222", "width": [2 if row.pareto else 0 for row in of_kind]},
            },
            text=[_tooltip(row, comparison) for row in of_kind],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_layout(
        xaxis_title=_axis(across),
        yaxis_title=_axis(up),
        template="plotly_white",
        margin={"t": 20},
        legend={"orientation": "h", "y": -0.2},
    )
    return f"{_axis(up)} against {_axis(across)}", figure


def _parallel(comparison: Comparison) -> tuple[str, go.Figure] | None:
    objective = comparison.objectives[0]
    rows = [row for row in comparison.rows if objective in row.figures]
    columns = {key: [row.params.get(key, "") for row in rows] for key in comparison.varying}
    names = {"model": [row.model for row in rows], "recipe": [row.recipe for row in rows]}
    columns = {key: values for key, values in {**names, **columns}.items() if len(set(values)) > 1}
    if not columns:
        return None
    dimensions = [_dimension(key, values) for key, values in columns.items()]
    for name in comparison.objectives:
        values = [row.figures.get(name) for row in rows]
        if all(value is not None for value in values):
            dimensions.append({"label": _axis(name), "values": values})
    scores = [row.figures[objective] for row in rows]
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": scores,
                "colorscale": "Cividis",
                "showscale": True,
                "colorbar": {"title": _axis(objective)},
            },
            labelangle=-15,
        )
    )
    figure.update_layout(template="plotly_white", margin={"t": 90, "l": 110})
    return "What was swept, and what it gave", figure


def _dimension(key: str, values: list[str]) -> dict[str, object]:
    label = key.removeprefix("trainer.")
    numbers = [number(value) for value in values]
    if all(isinstance(value, int | float) for value in numbers) and len(set(numbers)) > 4:
        return {"label": label, "values": numbers}
    order = sorted(set(numbers), key=lambda value: (isinstance(value, str), value))
    return {
        "label": label,
        "values": [order.index(value) for value in numbers],
        "tickvals": list(range(len(order))),
        "ticktext": [str(value) for value in order],
    }


def _tooltip(row: Row, comparison: Comparison) -> str:
    lines = [f"<b>{html.escape(row.name)}</b>"]
    lines += [
        f"{html.escape(key)} = {html.escape(row.params.get(key, ''))}" for key in comparison.varying
    ]
    lines += [f"{heading(name)} {cell(name, value)}" for name, value in row.figures.items()]
    return "<br>".join(lines)


def _axis(name: str) -> str:
    variant, _, figure = name.rpartition("/")
    said = AXES.get(figure, figure)
    return f"{said}, {variant}" if variant else said
