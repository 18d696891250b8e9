"""Show a comparison, or two runs side by side, on the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from math import nan
from typing import TYPE_CHECKING

import pandas as pd
from pandas.api.types import is_numeric_dtype
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.comparison.comparison import RUN, RUN_ID, STATUS, Comparison
from pipeline.comparison.differences import DATASET, IDENTITY
from pipeline.comparison.rows import TRAINING_S
from pipeline.config.identity import comparable_params
from pipeline.console.markdown import escaped
from pipeline.console.tables import show_fitted, shown
from pipeline.evaluation.pairs import FIRST, LABEL, ROW, SECOND, Pair
from pipeline.names import F1_MACRO, FINISHED, LOSS, SIZE_MB, interval_of
from pipeline.reports.wording import cell, heading

if TYPE_CHECKING:
    from mlflow.entities import Run

LABEL_WIDTH = 16  # characters of a label that every terminal shows
SHOWN_TEXTS = 20  # that two runs answer differently
SPARE_COLUMNS = (
    *interval_of(F1_MACRO),
    TRAINING_S,
    LOSS,
    F1_MACRO,
    SIZE_MB,
    DATASET,
)  # left out in this order


def show_comparisons(comparisons: Sequence[Comparison], title: str) -> None:
    """Print the comparison of each corpus.

    Args:
        comparisons: compared runs.
        title: heading of the tables.
    """
    for comparison in comparisons:
        _show(comparison, title)


def markdown(comparisons: Sequence[Comparison], title: str) -> str:
    """Write comparisons for a pull request or an issue.

    Args:
        comparisons: compared runs.
        title: heading of the tables.
    """
    return "\n".join(line for each in comparisons for line in _markdown_lines(each, title))


def _markdown_lines(comparison: Comparison, title: str) -> Iterator[str]:
    frame, title = _telling(comparison, title)
    yield f"**{escaped(title)}**"
    yield ""
    yield _markdown_row(map(heading, frame.columns))
    yield _markdown_row("---:" if is_numeric_dtype(kind) else "---" for kind in frame.dtypes)
    for values in frame.to_dict("records"):
        yield _markdown_row(cell(str(name), value) for name, value in values.items())
    yield ""
    yield f"\\* Pareto-optimal in {' and '.join(map(escaped, comparison.objectives))}"
    yield ""
    yield from (f"- {escaped(line)}" for line in comparison.lines)
    yield ""


def _markdown_row(texts: Iterable[str]) -> str:
    return f"| {' | '.join(map(escaped, texts))} |"


def _telling(comparison: Comparison, title: str) -> tuple[pd.DataFrame, str]:
    """Return the columns that tell runs apart, then the figures; the title says what is alike."""
    frame = comparison.table()
    shared = comparison.shared_identity
    telling = [name for name in (*IDENTITY, *comparison.varying) if name not in shared]
    title += "".join(f", {name} {value}" for name, value in shared.items())
    left_out = {RUN_ID, *shared, *telling}
    if telling:
        left_out.add(RUN)
    if (frame[STATUS] == FINISHED).all():
        left_out.add(STATUS)
    first, *others = [name for name in frame.columns if name not in left_out]
    return frame[[first, *telling, *others]], title


def _show(comparison: Comparison, title: str) -> None:
    """Print a comparison; a narrow terminal lacks the columns that matter least."""
    frame, title = _telling(comparison, title)
    spare = [name for name in SPARE_COLUMNS if name not in comparison.objectives]
    show_fitted(frame, title, cell, heading, spare)
    console = Console()
    console.print(shown(f"* Pareto-optimal in {' and '.join(comparison.objectives)}"))
    for line in comparison.lines:
        console.print(shown(line), soft_wrap=True)


def show_pair(pair: Pair, texts: Sequence[str] | None) -> None:
    """Print the test texts that two runs answer differently.

    Args:
        pair: their answers.
        texts: the texts; None shows their numbers instead.
    """
    table, console = Table(), Console()
    for column in (LABEL, FIRST, SECOND):
        width = pair.differing[column].str.len().max() if len(pair.differing) else 0
        table.add_column(column, no_wrap=True, min_width=min(int(width), LABEL_WIDTH))
    table.add_column("text" if texts else ROW, overflow="ellipsis", no_wrap=True)
    for line in pair.differing.head(SHOWN_TEXTS).to_dict("records"):
        text = texts[line[ROW]] if texts else str(line[ROW])
        table.add_row(
            *(shown(each) for each in (*(line[name] for name in (LABEL, FIRST, SECOND)), text))
        )
    console.print(shown(pair.line), soft_wrap=True)
    if table.row_count:
        console.print(table)
    if (more := len(pair.differing) - SHOWN_TEXTS) > 0:
        console.print(Text(f"and {more} more"))


def show_side_by_side(first: "Run", second: "Run") -> None:
    """Print what differs between two runs: parameters, then figures with their difference.

    Args:
        first: run of the left column.
        second: run of the right column.
    """
    table = Table(title=Text("what differs"), title_justify="left")
    for column in ("", first.info.run_name, second.info.run_name, "difference"):
        table.add_column(shown(column), justify="left" if not column else "right", overflow="fold")
    params = [comparable_params(run.data.params) for run in (first, second)]
    for name in sorted(params[0].keys() | params[1].keys()):
        texts = [each.get(name, "") for each in params]
        if texts[0] != texts[1]:
            table.add_row(shown(name), *map(shown, texts), "")
    table.add_section()
    for name in sorted(first.data.metrics.keys() | second.data.metrics.keys()):
        values = [run.data.metrics.get(name, nan) for run in (first, second)]
        if values[0] != values[1]:
            texts = [cell(name, value) for value in (*values, values[1] - values[0])]
            table.add_row(*map(shown, (name, *texts)))
    if table.row_count:
        Console().print(table)
    else:
        Console().print(Text("nothing differs: the same parameters, the same figures"))
