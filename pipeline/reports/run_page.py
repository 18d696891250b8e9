"""The files of a run's reports as one HTML page that opens offline."""

import html
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from pipeline.reports import charts
from pipeline.reports import results as results_report
from pipeline.reports.html import write_html
from pipeline.reports.model import calibration_error

PAGE = "report.html"
# Decimals that tell the values of a column apart, where that are not four.
DECIMALS = results_report.DECIMALS | {"load (s)": 2, "peak (MB)": 0, "texts/s": 0}
DECIMALS |= dict.fromkeys(("fastest", "slowest", "p95 (ms)", "p99 (ms)"), 2)
COSTS = {  # columns of benchmark.csv, as they are headed; fastest and slowest are repetitions
    "p50_ms": "p50 (ms)",
    "p50_ms_min": "fastest",
    "p50_ms_max": "slowest",
    "p95_ms": "p95 (ms)",
    "p99_ms": "p99 (ms)",
    "throughput_per_s": "texts/s",
    "load_s": "load (s)",
    "peak_memory_mb": "peak (MB)",
}


@dataclass(frozen=True)
class Tables:
    """The CSV files of a run's reports.

    Args:
        folder: where they lie.
    """

    folder: Path

    def read(self, name: str) -> pd.DataFrame | None:
        """Read a table; None if the run has none of that name."""
        file = self.folder / f"{name}.csv"
        return pd.read_csv(file, keep_default_na=True) if file.is_file() else None


def write_report(folder: Path, title: str, description: str, max_length: int, file: Path) -> None:
    """Write the page.

    Args:
        folder: the run's artifact `reports`.
        title: its heading.
        description: a sentence below it.
        max_length: tokens that texts were cut at.
        file: to write.
    """
    tables = Tables(folder)
    sections = [
        ("corpus", "The corpus", "".join(_corpus(tables, max_length))),
        ("model", "The model", "".join(_model(tables))),
        ("quantization", "Quantization", "".join(_quantization(tables))),
        ("cost", "What it costs", "".join(_cost(tables))),
    ]
    parts = {
        "title": html.escape(title),
        "description": html.escape(description.replace("`", "")),
        "contents": "".join(
            f'<a href="#{name}">{heading}</a>' for name, heading, body in sections if body
        ),
        "sections": "".join(
            f'<section id="{name}"><h2>{heading}</h2>{body}</section>'
            for name, heading, body in sections
            if body
        ),
    }
    write_html("report", parts, file)


def _corpus(tables: Tables, max_length: int) -> Iterator[str]:
    corpus, lengths, examples = (
        tables.read(name) for name in ("corpus", "token_lengths", "examples")
    )
    if corpus is not None:
        yield _table(_turned(corpus))
        if lengths is not None:
            yield _picture(charts.corpus_chart, corpus, lengths, max_length)
    if examples is not None:
        yield "<h3>Examples of each class</h3>" + _table(examples)


def _model(tables: Tables) -> Iterator[str]:
    figures, per_class, calibration = (
        tables.read(name) for name in ("figures", "per_class", "calibration")
    )
    if figures is not None:
        yield _table(figures)
        pictures = []
        for variant in figures["model"]:
            confusion = tables.read(f"confusion_{variant}")
            if confusion is not None:
                pictures.append(
                    _picture(
                        charts.confusion_chart, confusion.set_index(confusion.columns[0]), variant
                    )
                )
        yield f'<h3>Confusion matrices</h3><div class="side">{"".join(pictures)}</div>'
    if per_class is not None:
        yield "<h3>Precision, recall and F1</h3>" + _table(per_class)
    if calibration is not None:
        said = (
            "A calibrated model that is 80 % sure is right in 80 % of its answers. "
            f"The curve leaves out bins of fewer than {charts.FEW} texts; the error below counts them."
        )
        yield f'<h3>Calibration</h3><p class="hint">{said}</p>' + _picture(
            charts.calibration_chart, calibration
        )
        yield _table(_calibration_errors(calibration))
    by_length, mistakes = tables.read("accuracy_by_length"), tables.read("mistakes")
    if by_length is not None:
        yield "<h3>Accuracy by length of text</h3>" + _picture(charts.length_chart, by_length)
    if mistakes is not None and figures is not None:
        shipped = figures["model"].iloc[-1]
        own = mistakes[mistakes["variant"] == shipped].drop(columns="variant")
        yield f"<h3>The mistakes that {html.escape(shipped)} is most sure of</h3>" + _table(own)


def _quantization(tables: Tables) -> Iterator[str]:
    statistics, layers, differing = (
        tables.read(name) for name in ("mixed_precision_statistics", "layers", "disagreements")
    )
    if statistics is not None:
        said = (
            "How many ops of each type run in which precision, as Neural Compressor counted them."
        )
        yield f'<h3>Mixed Precision Statistics</h3><p class="hint">{said}</p>' + _table(statistics)
    if layers is not None:
        said = "The INT8 model in PyTorch against the FP32 one with the same weights; an output's error carries on behind it."
        yield f'<h3>Quantization error by module</h3><p class="hint">{said}</p>' + _picture(
            charts.layer_chart, layers
        )
    if differing is not None:
        for pair, rows in differing.groupby("pair", sort=False):
            one, other = str(pair).split(" and ")
            named = rows.drop(columns=["pair", "differing"]).rename(
                columns={
                    "first": one,
                    "second": other,
                    "first_confidence": f"{one} sure",
                    "second_confidence": f"{other} sure",
                }
            )
            count = int(rows["differing"].iloc[0])
            yield (
                f"<h3>Texts on which {html.escape(str(pair))} disagree ({count:,} in all)</h3>"
                + _table(named)
            )


def _cost(tables: Tables) -> Iterator[str]:
    benchmark = tables.read("benchmark")
    if benchmark is not None:
        yield _picture(charts.benchmark_chart, benchmark) + _table(
            benchmark.astype({"tokens": "Int64"}).rename(columns=COSTS)
        )


def _turned(corpus: pd.DataFrame) -> pd.DataFrame:
    """A column a split, as people read it."""
    columns: dict[str, list[str]] = {
        "": [name.replace("_", " ") for name in corpus.columns if name != "split"]
    }
    for row in corpus.to_dict("records"):
        values = {str(name): float(value) for name, value in row.items() if name != "split"}
        columns[str(row["split"])] = [
            "" if isnan(value) else f"{value:.2%}" if name.endswith("_share") else f"{value:,.0f}"
            for name, value in values.items()
        ]
    return pd.DataFrame(columns)


def _calibration_errors(calibration: pd.DataFrame) -> pd.DataFrame:
    errors = {
        variant: calibration_error(bins)
        for variant, bins in calibration.groupby("variant", sort=False)
    }
    return pd.DataFrame(
        {"variant": list(errors), "expected calibration error": list(errors.values())}
    )


def _table(frame: pd.DataFrame) -> str:
    kinds = [_kind(frame[name]) for name in frame.columns]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(str(name))}</th>'
        for name, kind in zip(frame.columns, kinds, strict=True)
    )
    columns = [
        [f"<td{kind}>{html.escape(cell)}</td>" for cell in _cells(frame[name])]
        for name, kind in zip(frame, kinds, strict=True)
    ]
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*columns, strict=True))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _kind(column: "pd.Series[Any]") -> str:
    if is_numeric_dtype(column):
        return ' class="number"'
    return ' class="text"' if column.name == "text" else ""


def _cells(column: "pd.Series[Any]") -> list[str]:
    """A column's values, with as many decimals as tell them apart."""
    shown = "{}"
    if is_integer_dtype(column):
        shown = "{:,}"
    elif is_numeric_dtype(column):
        places = DECIMALS.get(str(column.name), 4)
        shown = f"{{:,.{places}f}}"
    return ["" if pd.isna(value) else shown.format(value) for value in column]


def _picture(draw: Callable[..., Figure], *arguments: object) -> str:
    # Built twice, a page is the same byte for byte.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure = draw(*arguments)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
    drawn = written.getvalue()
    return f"<figure>{drawn[drawn.index('<svg') :]}</figure>"
