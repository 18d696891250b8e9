"""Two runs side by side, differences only."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.reports.comparison_table import cell

if TYPE_CHECKING:
    from mlflow.entities import Run


def show(first: "Run", second: "Run") -> None:
    """Print what differs between two runs: parameters, then figures with their difference.

    Args:
        first: the left column.
        second: the right column.
    """
    console = Console()
    printed = Table(title=Text("what differs"), title_justify="left")
    for column in ("", first.info.run_name, second.info.run_name, "difference"):
        printed.add_column(Text(column), justify="left" if not column else "right", overflow="fold")
    for name in sorted(first.data.params.keys() | second.data.params.keys()):
        pair = [run.data.params.get(name, "") for run in (first, second)]
        if pair[0] != pair[1]:
            printed.add_row(Text(name), *map(Text, pair), Text(""))
    printed.add_section()
    for name in sorted(first.data.metrics.keys() | second.data.metrics.keys()):
        values = [run.data.metrics.get(name, float("nan")) for run in (first, second)]
        if values[0] != values[1]:
            shown = [cell(name, value) for value in (*values, values[1] - values[0])]
            printed.add_row(*map(Text, (name, *shown)))
    if printed.row_count:
        console.print(printed)
    else:
        console.print(Text("nothing differs: the same parameters, the same figures"))
