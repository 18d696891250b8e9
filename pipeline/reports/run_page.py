"""Write the reports of a run as one HTML page, from the tables that the run logged."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from markupsafe import Markup
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from pipeline.console.csv_tables import as_written
from pipeline.evaluation.calibration import calibration_error
from pipeline.names import (
    ACCURACY_BY_LENGTH_TABLE,
    BENCHMARK_TABLE,
    CALIBRATION_TABLE,
    CORPUS_TABLE,
    DISAGREEMENTS_TABLE,
    EXAMPLES_TABLE,
    FIGURES_TABLE,
    LAYERS_TABLE,
    MISTAKES_TABLE,
    PER_CLASS_TABLE,
    STATISTICS_TABLE,
    TOKEN_LENGTHS_TABLE,
    confusion_table,
)
from pipeline.reports import charts
from pipeline.reports.html import Cell, HtmlTable, Line, trusted, write_html
from pipeline.reports.model import PAIR_JOINT
from pipeline.reports.wording import BENCHMARK_HEADINGS, CLASS_PREFIX, column_decimals

# Columns of the tables that hold labels and texts.
NAMING = ("class", "label", "predicted", "first", "second", "text")
TRUNCATED_SHARE = "truncated_share"  # the column of corpus.csv that is a share


@dataclass(frozen=True)
class Tables:
    """The CSV files of a run's reports.

    Args:
        folder: the run's artifact `reports`.
    """

    folder: Path

    def read(self, file_name: str) -> pd.DataFrame | None:
        """Read a table; labels and texts stay as they are, "NA" and "007" too.

        Args:
            file_name: name of its file.

        Returns:
            The table, or None if the run has no such file.
        """
        file = self.folder / file_name
        return (
            pd.read_csv(file, converters=dict.fromkeys(NAMING, as_written))
            if file.is_file()
            else None
        )

    def read_confusion(self, variant: str) -> pd.DataFrame | None:
        """Read the confusion matrix of a variant, true classes as the index; None without one."""
        file = self.folder / confusion_table(variant)
        if not file.is_file():
            return None
        table = pd.read_csv(file, converters={0: as_written}).rename(columns=as_written)
        return table.set_index(table.columns[0])


@dataclass(frozen=True)
class Block:
    """A part of a section: each of heading, hint, pictures and table may be empty.

    Args:
        heading: heading of the block.
        hint: sentence below the heading that says how to read what follows.
        pictures: pictures as SVG; several of them stand side by side.
        table: table below the pictures.
    """

    heading: str = ""
    hint: str = ""
    pictures: Sequence[Markup] = ()
    table: HtmlTable | None = None


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Args:
        name: name that links within the page lead to.
        heading: heading of the section.
        blocks: parts of the section from top to bottom.
    """

    name: str
    heading: str
    blocks: Sequence[Block]


def write_report(folder: Path, title: str, description: str, max_length: int, file: Path) -> None:
    """Write the page of a run.

    Args:
        folder: the run's artifact `reports`.
        title: heading of the page.
        description: a few sentences of Markdown that describe the run.
        max_length: tokens that texts were cut at.
        file: file to write.
    """
    tables = Tables(folder)
    sections = [
        Section("model", "The model", list(_model(tables))),
        Section("cost", "What it costs", list(_cost(tables))),
        Section("quantization", "Quantization", list(_quantization(tables))),
        Section("corpus", "The corpus", list(_corpus(tables, max_length))),
    ]
    write_html(
        "run_page.html",
        file,
        title=title,
        description=description.replace("`", ""),
        sections=[section for section in sections if section.blocks],
    )


def _corpus(tables: Tables, max_length: int) -> Iterator[Block]:
    corpus, lengths = tables.read(CORPUS_TABLE), tables.read(TOKEN_LENGTHS_TABLE)
    if corpus is not None:
        yield Block(table=_table(_transposed(corpus)))
        if lengths is not None:
            yield Block(pictures=[_picture(charts.corpus_chart, corpus, lengths, max_length)])
    examples = tables.read(EXAMPLES_TABLE)
    if examples is not None:
        yield Block("Examples of each class", table=_table(examples))


def _model(tables: Tables) -> Iterator[Block]:
    figures = tables.read(FIGURES_TABLE)
    if figures is not None:
        yield Block(table=_table(figures))
        pictures = _confusion_pictures(tables, list(figures["model"]))
        yield Block("Confusion matrices", pictures=pictures)
    per_class = tables.read(PER_CLASS_TABLE)
    if per_class is not None:
        yield Block("Precision, recall and F1", table=_table(per_class))
    calibration = tables.read(CALIBRATION_TABLE)
    if calibration is not None:
        hint = (
            "A calibrated model that is 80 % sure is right in 80 % of its answers. "
            f"The curve leaves out bins of fewer than {charts.MIN_BIN_TEXTS} texts; "
            "the error below counts them."
        )
        picture = _picture(charts.calibration_chart, calibration)
        yield Block("Calibration", hint, [picture], _table(_calibration_errors(calibration)))
    by_length = tables.read(ACCURACY_BY_LENGTH_TABLE)
    if by_length is not None:
        picture = _picture(charts.length_chart, by_length)
        yield Block("Accuracy by length of text", pictures=[picture])
    mistakes = tables.read(MISTAKES_TABLE)
    if mistakes is not None and figures is not None:
        variant = figures["model"].iloc[-1]
        of_variant = mistakes[mistakes["variant"] == variant].drop(columns="variant")
        yield Block(f"The mistakes that {variant} is most sure of", table=_table(of_variant))


def _quantization(tables: Tables) -> Iterator[Block]:
    statistics = tables.read(STATISTICS_TABLE)
    if statistics is not None:
        hint = (
            "How many ops of each type run in which precision, as Neural Compressor counted them."
        )
        yield Block("Mixed Precision Statistics", hint, table=_table(statistics))
    layers = tables.read(LAYERS_TABLE)
    if layers is not None:
        hint = (
            "The INT8 model in PyTorch against the FP32 one with the same weights; "
            "the error of an output carries on into the modules behind it."
        )
        picture = _picture(charts.layer_chart, layers)
        yield Block("Quantization error by module", hint, [picture])
    disagreements = tables.read(DISAGREEMENTS_TABLE)
    if disagreements is not None:
        for pair, rows in disagreements.groupby("pair", sort=False):
            yield _disagreements(str(pair), rows)


def _cost(tables: Tables) -> Iterator[Block]:
    benchmark = tables.read(BENCHMARK_TABLE)
    if benchmark is not None:
        costs = benchmark.astype({"tokens": "Int64"}).rename(columns=BENCHMARK_HEADINGS)
        picture = _picture(charts.benchmark_chart, benchmark)
        yield Block(pictures=[picture], table=_table(costs))


def _confusion_pictures(tables: Tables, variants: Sequence[str]) -> list[Markup]:
    pictures = []
    for variant in variants:
        confusion = tables.read_confusion(variant)
        if confusion is not None:
            pictures.append(_picture(charts.confusion_chart, confusion, variant))
    return pictures


def _disagreements(pair: str, rows: pd.DataFrame) -> Block:
    first, second = pair.split(PAIR_JOINT)
    headings = {
        "first": first,
        "second": second,
        "first_confidence": f"{first} sure",
        "second_confidence": f"{second} sure",
    }
    heading = f"Texts on which {pair} disagree ({int(rows['differing'].iloc[0]):,} in all)"
    listed = rows.drop(columns=["pair", "differing"]).rename(columns=headings)
    return Block(heading, table=_table(listed))


def _transposed(corpus: pd.DataFrame) -> pd.DataFrame:
    """Turn the rows of corpus.csv into columns, and write the numbers as people read them."""
    columns: dict[str, list[str]] = {
        "": [
            name if name.startswith(CLASS_PREFIX) else name.replace("_", " ")
            for name in corpus.columns
            if name != "split"
        ]
    }
    for row in corpus.to_dict("records"):
        values = {str(name): float(value) for name, value in row.items() if name != "split"}
        columns[str(row["split"])] = [
            "" if isnan(value) else f"{value:.2%}" if name == TRUNCATED_SHARE else f"{value:,.0f}"
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


def _table(frame: pd.DataFrame) -> HtmlTable:
    columns = [_column(frame[name]) for name in frame.columns]
    headings = [Cell(str(name), _kind(frame[name])) for name in frame.columns]
    return HtmlTable(headings, [Line(cells) for cells in zip(*columns, strict=True)])


def _kind(column: "pd.Series[Any]") -> str:
    """Return the CSS class of a column's cells; empty for none."""
    if is_numeric_dtype(column):
        return "number"
    return "text" if column.name == "text" else ""


def _column(column: "pd.Series[Any]") -> list[Cell]:
    """Write the values of a column, numbers with as many decimals as tell them apart."""
    pattern = "{}"
    if is_integer_dtype(column):
        pattern = "{:,}"
    elif is_numeric_dtype(column):
        pattern = f"{{:,.{column_decimals(str(column.name))}f}}"
    kind = _kind(column)
    return [Cell("" if pd.isna(value) else pattern.format(value), kind) for value in column]


def _picture(plot: Callable[..., Figure], *arguments: object) -> Markup:
    """Plot a chart as SVG; the same tables give the same bytes."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure = plot(*arguments)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
    svg = buffer.getvalue()
    return trusted(svg[svg.index("<svg") :])
