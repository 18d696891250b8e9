"""Lay out a data frame as a table for the terminal."""

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
    """Lay out a frame, with numbers aligned to the right.

    Args:
        frame: data frame whose columns have names.
        title: title above the table.
        cell: function that writes a value, given its column's name and the value.
        heading: function that writes a column's heading, given its name.
    """
    table = Table(title=Text(title), title_justify="left")
    for name in frame.columns:
        is_number = pd.api.types.is_numeric_dtype(frame[name])
        table.add_column(Text(heading(str(name))), justify="right" if is_number else "left")
    for row in frame.to_dict("records"):
        table.add_row(*(Text(cell(str(name), value)) for name, value in row.items()))
    return table
