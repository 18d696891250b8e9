"""Read CSV and TSV as spreadsheets, pandas, databases and GLUE write them, record by record.

The standard library's csv reads strictly, one record at a time; pandas 3.0 fills short rows, shifts
long ones into an index, and takes whatever lies between two quotes for one field.
"""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from pipeline.data.rows import Columns, Rows
from pipeline.data.streams import open_text
from pipeline.errors import PipelineError

SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_BY_SUFFIX = {".csv": ",", ".tsv": "\t"}  # that a file's name promises
HEADER_LINES = 50  # that a header with line ends in its names may take
# Values of a column that may hold labels; with more, it holds ids or texts, which fill the memory.
MOST_GUESSED_LABELS = 5_000
QUOTE = '"'
# Excel begins a file with this line, to tell itself the separator.
SEPARATOR_LINE = re.compile(r"sep=(.)\s*$")
WRITTEN_FIELD = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Layout:
    """How a file is written.

    Args:
        separator: character between fields.
        quoted: whether a field that begins with a quote ends with one.
        skipped: lines before the header.
        header: names of the columns.
        header_lines: lines that the header takes.
    """

    separator: str
    quoted: bool
    skipped: int
    header: tuple[str, ...]
    header_lines: int


def read_delimited(file: str, encoding: str | None, columns: Columns, separator: str) -> Rows:
    """Read a table whose first line names its columns.

    The separator is the first of comma, semicolon, tab and vertical bar by which the header has
    the wanted columns. A file with tabs may be written with quotes (pandas, Excel) or without
    (GLUE): if each line has the header's number of fields, a quote is part of its text, unless
    every quote is written as a program would. What can be read both ways is refused.

    Args:
        file: path or URL.
        encoding: encoding of the file; None recognizes it.
        columns: columns that are wanted.
        separator: separator that the file's name promises; it is tried first.

    Returns:
        The rows, numbered by line.

    Raises:
        PipelineError: here or while the rows are read: a column is missing, a row has more or fewer
            fields than the header, or a quote is not closed. The line names the file's line.
    """
    csv.field_size_limit(sys.maxsize)  # a text of more than 131,072 characters is a text
    layout = _layout(file, encoding, columns, separator)
    columns.places_in(layout.header, file)  # a missing one is told here
    return Rows(file, "line", _records(file, encoding, layout, columns))


def read_header(
    file: str, encoding: str | None, columns: Columns, separator: str
) -> tuple[str, ...]:
    """Read the names of a table's columns.

    Args:
        file: as for read_delimited.
        encoding: as for read_delimited.
        columns: columns that are wanted; they tell the separator, and may be missing.
        separator: as for read_delimited.
    """
    csv.field_size_limit(sys.maxsize)
    return _layout(file, encoding, columns, separator).header


def _layout(file: str, encoding: str | None, columns: Columns, promised: str) -> Layout:
    with open_text(file, encoding) as lines:
        first_lines = list(islice(lines, HEADER_LINES))
    told = SEPARATOR_LINE.match(first_lines[0])
    skipped = 1 if told else 0
    if not "".join(first_lines[skipped:]).strip():
        raise PipelineError(f"{file} is empty; it needs a header and at least one row.")
    while not first_lines[skipped].strip():
        skipped += 1
    candidates = [told[1]] if told else [promised, *(s for s in SEPARATORS if s != promised)]
    layouts = [_header(first_lines, skipped, separator) for separator in candidates]
    wanted = set(columns.names)
    fitting = [layout for layout in layouts if wanted <= set(layout.header)]
    # Without a fitting one, the error lists the columns of the likeliest.
    layout = fitting[0] if fitting else max(layouts, key=lambda layout: len(layout.header))
    if not fitting or layout.separator != "\t" or first_lines[skipped].startswith(QUOTE):
        return layout
    return replace(layout, quoted=_writes_quotes(file, encoding, layout, columns))


def _header(first_lines: Sequence[str], skipped: int, separator: str) -> Layout:
    reader = csv.reader(first_lines[skipped:], delimiter=separator)
    names = tuple(name.strip() for name in next(reader))
    return Layout(separator, True, skipped, names, reader.line_num)


def _writes_quotes(file: str, encoding: str | None, layout: Layout, columns: Columns) -> bool:
    """Tell whether quotes in a file with tabs are a program's, or part of the texts."""
    width = len(layout.header)
    one_line_a_row, quotes, doubled = True, False, False
    unwritten = 0  # first line with a quote that no program writes so
    with open_text(file, encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if number <= layout.skipped + layout.header_lines:
                continue
            if QUOTE not in line and line.count(layout.separator) == width - 1:
                continue
            fields = line.rstrip("\r\n").split(layout.separator)
            one_line_a_row &= len(fields) == width or not line.strip()
            for field in fields:
                if field.startswith(QUOTE):
                    quotes = True
                    if not unwritten and not WRITTEN_FIELD.fullmatch(field):
                        unwritten = number
                    doubled |= QUOTE * 2 in field[1:-1]
    if not (quotes and one_line_a_row):
        return quotes
    if not unwritten:  # a program quotes a field for a tab, a line's end, or a quote, which doubles
        return doubled
    try:
        for _ in _records(file, encoding, layout, columns):
            pass
    except PipelineError:
        return False
    raise PipelineError(
        f"{file}, line {unwritten}: the quote may be part of the text, or open a field of several "
        "lines; write the file as JSON lines or Parquet."
    )


def _records(
    file: str, encoding: str | None, layout: Layout, columns: Columns
) -> Iterator[tuple[int, list[object]]]:
    width, places = len(layout.header), columns.places_in(layout.header, file)
    swallowed = _SwallowedRows(layout, columns)
    with open_text(file, encoding) as lines:
        record_lines: list[str] = []

        def kept() -> Iterator[str]:
            for line in islice(lines, layout.skipped + layout.header_lines, None):
                record_lines.append(line)
                yield line

        reader = csv.reader(
            kept(),
            delimiter=layout.separator,
            quoting=csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE,
            strict=True,
        )
        first = layout.skipped + layout.header_lines + 1
        try:
            for fields in reader:
                if len(record_lines) == 1 and not record_lines[0].strip():
                    first += 1
                    record_lines.clear()
                    continue
                if len(fields) != width:
                    raise PipelineError(_width_line(file, first, fields, layout))
                yield first, [fields[place] for place in places]
                swallowed.look_at(first, fields, record_lines)
                first += len(record_lines)
                record_lines.clear()
        except csv.Error as error:
            raise PipelineError(_quote_line(file, first, error)) from error
    swallowed.refuse(file)


class _SwallowedRows:
    """Find records of several lines that are rows, put together by a quote that was not closed.

    Each of their lines looks like a row, with a label that other rows have as well.

    Args:
        layout: how the file is written.
        columns: columns that are wanted. Without a label, another column than the texts' is
            watched, until it has had more values than labels have.
    """

    def __init__(self, layout: Layout, columns: Columns) -> None:
        self._layout = layout
        self._most = MOST_GUESSED_LABELS if columns.label is None else sys.maxsize
        self._place = _label_place(columns, layout)
        self._labels: set[str] = set()
        self._candidates: list[tuple[int, list[str]]] = []  # first line, and labels within

    def look_at(self, first: int, fields: Sequence[str], record_lines: Sequence[str]) -> None:
        """Take down what a record has for a label, and what each of its lines has.

        Args:
            first: number of its first line.
            fields: its fields.
            record_lines: its lines.
        """
        if self._place is None:
            return
        self._labels.add(fields[self._place])
        if len(self._labels) > self._most:
            self._place = None
            self._labels.clear()
            self._candidates.clear()
        elif inner := _inner_labels(record_lines, self._layout, self._place):
            self._candidates.append((first, inner))

    def refuse(self, file: str) -> None:
        """Refuse a file with such a record, after its last one.

        Args:
            file: path or URL, for the error.

        Raises:
            PipelineError: there is one; the line names its first line.
        """
        for first, inner in self._candidates:
            if self._labels.issuperset(inner):
                raise PipelineError(
                    f"{file}, line {first}: a quote that opens there closes {len(inner) - 1} lines "
                    "further down, and each line between looks like a row; close the quote, or "
                    f"double it if it is text ({QUOTE * 2})."
                )


def _label_place(columns: Columns, layout: Layout) -> int | None:
    """Return the place of the labels, or of another column than the texts'; None without one."""
    if columns.label is not None:
        return layout.header.index(columns.label)
    texts = (columns.text, columns.text_pair)
    others = (place for place, name in enumerate(layout.header) if name not in texts)
    return next(others, None)


def _inner_labels(record_lines: Sequence[str], layout: Layout, label_place: int) -> list[str]:
    """Return what stands in the label's place of each of several lines that all look like rows."""
    if len(record_lines) == 1:
        return []
    lines = [line.rstrip("\r\n").split(layout.separator) for line in record_lines]
    if any(len(fields) != len(layout.header) for fields in lines):
        return []
    return [fields[label_place].strip(QUOTE) for fields in lines]


def _width_line(file: str, line: int, fields: Sequence[str], layout: Layout) -> str:
    names = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
    separator = names.get(layout.separator, repr(layout.separator))
    remedy = (
        f"a text with a {separator} in it must stand in quotes"
        if len(fields) > len(layout.header)
        else "every row needs all of them"
    )
    return (
        f"{file}, line {line} has {len(fields)} fields where the header has "
        f"{len(layout.header)}; {remedy}."
    )


def _quote_line(file: str, line: int, error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return f"{file}, line {line}: a quote that opens there is never closed."
    return (
        f"{file}, line {line}: a quoted field goes on after its closing quote; a quote within it "
        f"must be doubled ({QUOTE * 2}), or write the file as JSON lines."
    )
