"""A data frame as a table for the terminal."""

from collections.abc import Callable

import pandas as pd
from rich.table import Table
from rich.text import Text


def rich_table(
    frame: pd.DataFrame,
    title: str,
    cell: Callable[[str, object], str],
    heading: Callable[[str], str] = str,
) -> Table:
    """Lay out a frame, numbers to the right.

    Args:
        frame: with names for columns.
        title: above the table.
        cell: a column's name and a value to what is shown.
        heading: a column's name to what is shown.
    """
    table = Table(title=Text(title), title_justify="left")
    for name in frame.columns:
        right = pd.api.types.is_numeric_dtype(frame[name])
        table.add_column(Text(heading(str(name))), justify="right" if right else "left")
    for line in frame.to_dict("records"):
        table.add_row(*(Text(cell(str(name), value)) for name, value in line.items()))
    return table
