"""Write tables as CSV that a spreadsheet shows as it is, and read the cells back.

A cell that begins like a formula is one to a spreadsheet, whoever wrote the text, label or name in
it. It gets an apostrophe in front, as OWASP advises (CSV injection), and so does a cell that would
otherwise be taken for one that got it.
"""

import io
import re
from pathlib import Path

import pandas as pd

WRITTEN_END = "\r\n"
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_ESCAPED = re.compile("'+[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def write_csv(frame: pd.DataFrame, file: Path, *, index: bool = False) -> None:
    """Write a table to a CSV file.

    Args:
        frame: table to write.
        file: file to write.
        index: whether the index is the first column.
    """
    file.write_text(csv_text(frame, index=index), encoding="utf-8")


def csv_text(frame: pd.DataFrame, *, index: bool = False) -> str:
    """Write a table as CSV.

    Args:
        frame: table to write.
        index: whether the index is the first column.
    """
    table = frame.reset_index() if index else frame.copy()
    for place, dtype in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(dtype):
            table.isetitem(place, [_escaped(value) for value in table.iloc[:, place]])
    table.columns = table.columns.map(_escaped)
    rows = _Rows()
    # Of the ends of lines, Python's csv quotes those alone that it writes itself.
    table.to_csv(rows, index=False, lineterminator=WRITTEN_END)
    return rows.getvalue()


class _Rows(io.StringIO):
    """Take rows as they come, and end each like a line of this system's text files."""

    def write(self, row: str) -> int:
        """Write a row, which Python's csv gives in one piece."""
        return super().write(row.removesuffix(WRITTEN_END) + "\n")


def as_written(cell: str) -> str:
    """Return what a cell or heading of such a file was before it was written."""
    return cell[1:] if _ESCAPED.match(cell) else cell


def _escaped(value: object) -> object:
    """Put an apostrophe before a text that looks like a formula, and is no number."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"
