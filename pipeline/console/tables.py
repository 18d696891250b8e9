"""Lay out a data frame as a table for the terminal."""

from collections.abc import Callable, Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.console.markdown import printable

UNLIMITED_WIDTH = 10_000  # rich measures no more than it is given
PIPED_WIDTH = 160  # characters, where no terminal says how wide it is


def shown(text: object) -> Text:
    """Put a text of a corpus, a config or a run on the terminal without what would steer it.

    rich 15 takes the bell out of a text, and leaves the escape sequences in.

    Args:
        text: the text, or what is written as one.
    """
    return Text(printable(str(text)))


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
    table = Table(title=shown(title), title_justify="left")
    for name in frame.columns:
        is_number = pd.api.types.is_numeric_dtype(frame[name])
        table.add_column(shown(heading(str(name))), justify="right" if is_number else "left")
    for row in frame.to_dict("records"):
        table.add_row(*(shown(cell(str(name), value)) for name, value in row.items()))
    return table


def show_fitted(
    frame: pd.DataFrame,
    title: str,
    cell: Callable[[str, object], str],
    heading: Callable[[str], str] = str,
    spare: Sequence[str] = (),
) -> None:
    """Print a frame; on a narrow terminal it lacks the columns that matter least.

    Args:
        frame: data frame whose columns have names.
        title: title above the table.
        cell: function that writes a value, given its column's name and the value.
        heading: function that writes a column's heading, given its name.
        spare: columns that may be left out, the first one first.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    unlimited = console.options.update(width=UNLIMITED_WIDTH)
    for name in ("", *spare):
        frame = frame.drop(columns=name, errors="ignore")
        table = rich_table(frame, title, cell, heading)
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
    console.print(table)
