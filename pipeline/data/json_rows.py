"""Read JSON: lines of objects, one array of objects, or one object of columns."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from pipeline.data.rows import Columns, Rows
from pipeline.data.streams import open_text
from pipeline.errors import PipelineError

SHAPES = "accepted: an object a line, an array of objects, or an object of columns"
ROWS_FOR_COLUMNS = 1000  # a column that none of the first rows has is missing


def read_json(file: str, encoding: str | None, columns: Columns) -> Rows:
    """Read a table from JSON in any of its three shapes.

    Args:
        file: path or URL.
        encoding: encoding of the file; None recognizes it.
        columns: columns that are wanted; a row may lack them, not all rows.

    Returns:
        The rows: numbered by line if each is an object on a line, else by their place.

    Raises:
        PipelineError: here or while the rows are read: a column is missing, or the JSON is broken.
    """
    if _begins_with_lines(file, encoding, columns):
        return Rows(file, "line", _wanted(_objects_on_lines(file, encoding), columns, file))
    table = _whole(file, encoding)
    if isinstance(table, dict):
        return Rows(file, "row", enumerate(_of_columns(table, columns, file), start=1))
    return Rows(file, "row", _wanted(enumerate(_objects(table, file), start=1), columns, file))


def read_objects(file: str, encoding: str | None, columns: Columns) -> Iterator[dict[str, Any]]:
    """Read the rows of a table with all that they have.

    Args:
        file: as for read_json.
        encoding: as for read_json.
        columns: columns that are wanted, of which the others tell nothing.

    Raises:
        PipelineError: as for read_json.
    """
    if _begins_with_lines(file, encoding, columns):
        yield from (value for _, value in _objects_on_lines(file, encoding))
        return
    table = _whole(file, encoding)
    if isinstance(table, list):
        yield from _objects(table, file)
        return
    further = [name for name, value in table.items() if isinstance(value, list | dict)]
    others = tuple(name for name in further if name not in columns.names)
    everything = replace(columns, others=(*columns.others, *others))
    for row in _of_columns(table, everything, file):
        values = dict(zip(everything.names, row, strict=True))
        yield {name: values[name] for name in table if name in values}


def _begins_with_lines(file: str, encoding: str | None, columns: Columns) -> bool:
    """Tell whether each row of a file is an object on a line of its own."""
    with open_text(file, encoding) as lines:
        first = next((line for line in lines if line.strip()), "")
        if not first:
            raise PipelineError(f"{file} is empty; it needs at least one row.")
        begun = _object_on_one_line(first)
        alone = next((line for line in lines if line.strip()), None) is None
    return begun is not None and not (alone and _is_of_columns(begun, columns))


def _whole(file: str, encoding: str | None) -> list[Any] | dict[str, Any]:
    """Read a file that is one value: an array of objects, or an object of columns."""
    with open_text(file, encoding) as lines:
        table = _parsed("".join(lines), file)
    if isinstance(table, dict) and isinstance(table.get("data"), list):  # pandas' orient="table"
        table = table["data"]
    if isinstance(table, list | dict):
        return table
    raise PipelineError(f"{file} is {type(table).__name__}; {SHAPES}.")


def _object_on_one_line(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        # The first of several objects, with a mistake in it: its line is told when it is read.
        begins_a_line = line.lstrip().startswith("{") and line.strip() != "{"
        return {} if begins_a_line and line.rstrip().endswith("}") else None
    return value if isinstance(value, dict) else None


def _is_of_columns(value: Mapping[str, Any], columns: Columns) -> bool:
    parts = [value.get(name) for name in columns.names]
    return isinstance(value.get("data"), list) or all(isinstance(p, list | dict) for p in parts)


def _objects_on_lines(file: str, encoding: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(file, encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                value = _parsed(line, f"{file}, line {number}")
                if not isinstance(value, dict):
                    raise PipelineError(f"{file}, line {number} is not an object; {SHAPES}.")
                yield number, value


def _objects(table: Iterable[object], file: str) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(table, start=1):
        if not isinstance(row, dict):
            raise PipelineError(f"{file}, row {number} is not an object; {SHAPES}.")
        yield row


def _wanted(
    rows: Iterable[tuple[int, Any]], columns: Columns, file: str
) -> Iterator[tuple[int, Sequence[object]]]:
    """Take the wanted columns of each row, after a look at which columns there are."""
    iterator = iter(rows)
    first_rows: list[tuple[int, Any]] = []
    found: dict[str, None] = {}
    for number, row in iterator:
        first_rows.append((number, row))
        found |= dict.fromkeys(row)
        if len(first_rows) == ROWS_FOR_COLUMNS or found.keys() >= set(columns.names):
            break
    columns.places_in(tuple(found), file)
    for number, row in chain(first_rows, iterator):
        yield number, [row.get(name) for name in columns.names]


def _of_columns(
    table: Mapping[str, Any], columns: Columns, file: str
) -> Iterator[Sequence[object]]:
    """Turn columns, each a list or a dict by row, into rows."""
    columns.places_in(tuple(table), file)
    lists = []
    for name in columns.names:
        column = table[name]
        if not isinstance(column, list | dict):
            raise PipelineError(f"{file}: column {name!r} is {type(column).__name__}; {SHAPES}.")
        lists.append(column if isinstance(column, list) else list(column.values()))
        if isinstance(column, dict) and list(column) != list(table[columns.text]):
            raise PipelineError(f"{file}: columns {columns.text!r} and {name!r} differ in rows.")
    if len({len(column) for column in lists}) > 1:
        lengths = ", ".join(
            f"{name} {len(column):,}" for name, column in zip(columns.names, lists, strict=True)
        )
        raise PipelineError(f"{file}: its columns differ in length: {lengths}.")
    return zip(*lists, strict=True)


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = "" if error.lineno == 1 else f"line {error.lineno}, "
        raise PipelineError(
            f"{where} is broken JSON: {error.msg} at {line}position {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{where} cannot be read: {error}.") from error
