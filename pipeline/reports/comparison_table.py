"""Show a comparison, or two runs side by side, on the terminal."""

from math import nan
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.comparison.comparison import RUN, RUN_ID, STATUS, TRAINING_S, Comparison
from pipeline.comparison.differences import DATASET, IDENTITY
from pipeline.config.identity import comparable_params
from pipeline.console.tables import show_fitted
from pipeline.names import F1_MACRO, FINISHED, LOSS, SIZE_MB, interval_of
from pipeline.reports.wording import cell, heading

if TYPE_CHECKING:
    from mlflow.entities import Run

SPARE_COLUMNS = (
    *interval_of(F1_MACRO),
    TRAINING_S,
    LOSS,
    F1_MACRO,
    SIZE_MB,
    DATASET,
)  # left out in this order


def show_comparison(comparison: Comparison, title: str) -> None:
    """Print a comparison; a narrow terminal lacks the columns that matter least.

    Args:
        comparison: compared runs.
        title: heading of the table.
    """
    frame = comparison.table()
    shared = comparison.shared_identity
    frame = frame.drop(columns=[RUN_ID, *shared])
    title += "".join(f", {name} {value}" for name, value in shared.items())
    if comparison.varying or len(shared) < len(IDENTITY):  # the other columns tell runs apart
        frame = frame.drop(columns=RUN)
    if (frame[STATUS] == FINISHED).all():
        frame = frame.drop(columns=STATUS)
    spare = [name for name in SPARE_COLUMNS if name not in comparison.objectives]
    show_fitted(frame, title, cell, heading, spare)
    console = Console()
    console.print(Text(f"* Pareto-optimal in {' and '.join(comparison.objectives)}"))
    for line in comparison.lines:
        console.print(Text(line), soft_wrap=True)


def show_side_by_side(first: "Run", second: "Run") -> None:
    """Print what differs between two runs: parameters, then figures with their difference.

    Args:
        first: run of the left column.
        second: run of the right column.
    """
    table = Table(title=Text("what differs"), title_justify="left")
    for column in ("", first.info.run_name, second.info.run_name, "difference"):
        table.add_column(Text(column), justify="left" if not column else "right", overflow="fold")
    params = [comparable_params(run.data.params) for run in (first, second)]
    for name in sorted(params[0].keys() | params[1].keys()):
        texts = [each.get(name, "") for each in params]
        if texts[0] != texts[1]:
            table.add_row(Text(name), *map(Text, texts), Text(""))
    table.add_section()
    for name in sorted(first.data.metrics.keys() | second.data.metrics.keys()):
        values = [run.data.metrics.get(name, nan) for run in (first, second)]
        if values[0] != values[1]:
            texts = [cell(name, value) for value in (*values, values[1] - values[0])]
            table.add_row(*map(Text, (name, *texts)))
    if table.row_count:
        Console().print(table)
    else:
        Console().print(Text("nothing differs: the same parameters, the same figures"))
