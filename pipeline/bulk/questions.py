"""Check the texts of a table, count them, and read what has not been classified yet."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from pipeline.data.cleaning import join_pair
from pipeline.data.rows import Columns
from pipeline.data.sources import read_rows
from pipeline.data.tables import Table
from pipeline.errors import PipelineError
from pipeline.inference.texts import check_text

CHECKED_AT_ONCE = 10_000  # texts between two reports of progress


@dataclass(frozen=True)
class Questions:
    """Rows of a table that are to be classified.

    Args:
        table: the table.
        answered: rows at its beginning that are not needed any more.
    """

    table: Table
    answered: int = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read the rows, in order, in batches that are not empty."""
        to_skip = self.answered
        for batch in self.table.batches():
            if batch.num_rows > to_skip:
                yield batch.slice(to_skip)
            to_skip = max(0, to_skip - batch.num_rows)


def checked_texts(files: Sequence[str], encoding: str | None, columns: Columns) -> Iterator[str]:
    """Read the texts of a table, and refuse one that a classifier cannot read.

    Args:
        files: paths or URLs of the table.
        encoding: encoding of text files; None recognizes it.
        columns: columns with the texts.

    Yields:
        Each row's text, or its pair of texts with a tab between them.

    Raises:
        PipelineError: a text is missing, empty or too long, or a file cannot be read; the line
            names the file and its line or row.
    """
    for file in files:
        rows = read_rows(file, encoding, columns)
        for number, values in rows.values:
            for name, value in zip(columns.names, values, strict=True):
                where = f"{file}, {rows.unit} {number}, column {name},"
                if value is None:
                    raise PipelineError(f"{where} has no text.")
                check_text(value, where)
            yield str(values[0]) if columns.text_pair is None else join_pair(*values)


def count_checked(texts: Iterable[str], checked: Callable[[int], object]) -> int:
    """Count texts while they are checked.

    Args:
        texts: what checked_texts() yields.
        checked: is told of further texts that were read.
    """
    count = 0
    iterator = iter(texts)
    while part := sum(1 for _ in islice(iterator, CHECKED_AT_ONCE)):
        checked(part)
        count += part
    return count
