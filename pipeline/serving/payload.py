"""Read the texts of a request, in the formats of MLflow's scoring server."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from pipeline.errors import PipelineError, first_line
from pipeline.inference.texts import MAX_TEXTS, check_texts
from pipeline.serving.limits import RefusedError

JSON = "application/json"
CSV = "text/csv"
FORMATS = ("inputs", "instances", "dataframe_split", "dataframe_records")
TEXT_COLUMN = "text"
SHOWN_CHARACTERS = 80  # of what a client sent, in an error


def read_texts(body: bytes | bytearray, content_type: str) -> list[str]:
    """Read and check the texts of a request.

    JSON has exactly one of the keys of FORMATS: a list of texts, a column of texts by its name, or
    a table. Of a table, the only column is read, or the one that is named `text`. Other keys, such
    as MLflow's `params`, are ignored.

    Args:
        body: body of the request.
        content_type: its media type, application/json or text/csv (with a header), in UTF-8.

    Raises:
        RefusedError: the body is something else, or a text of it is not accepted; HTTP 400, or 415
            for another media type.
    """
    media_type, *parameters = [part.strip().lower() for part in content_type.split(";")]
    charsets = [part.partition("=")[2].strip('"') for part in parameters if "charset" in part]
    if media_type not in (JSON, CSV) or charsets not in ([], ["utf-8"]):
        raise RefusedError(
            415,
            f"the content type is {_shown(content_type) or 'missing'}; "
            f"{JSON} and {CSV} are accepted, in UTF-8.",
        )
    values = _from_json(body) if media_type == JSON else _from_csv(body)
    try:
        check_texts(values)
    except PipelineError as error:
        raise RefusedError(400, str(error)) from error
    return values


def _from_json(body: bytes | bytearray) -> list[Any]:
    try:
        request = json.loads(body)
    except RecursionError as error:
        raise RefusedError(400, "the body is nested too deeply.") from error
    except ValueError as error:  # not JSON, not UTF-8, or a number of thousands of digits
        raise RefusedError(400, f"the body is not JSON: {_shown(first_line(error))}") from error
    keys = [name for name in FORMATS if isinstance(request, dict) and name in request]
    if len(keys) != 1:
        raise RefusedError(400, f"the body has to be an object with one of {', '.join(FORMATS)}.")
    value = request[keys[0]]
    if keys[0] == "dataframe_split":
        return _from_split(value)
    if isinstance(value, dict):
        return _from_columns(value)
    if not isinstance(value, list):
        raise RefusedError(400, f"{keys[0]} has to be a list.")
    if any(isinstance(row, dict) for row in value) or keys[0] == "dataframe_records":
        return _from_records(value)
    return value


def _from_columns(columns: dict[str, Any]) -> list[Any]:
    values = columns[_text_column(list(columns))]
    if not isinstance(values, list):
        raise RefusedError(400, "a column has to be a list of texts.")
    return values


def _from_records(rows: list[Any]) -> list[Any]:
    if not all(isinstance(row, dict) for row in rows):
        raise RefusedError(400, "rows have to be objects, with a text in each.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        return []
    column = _text_column(names)
    return [row.get(column) for row in rows]


def _from_split(table: Any) -> list[Any]:
    columns, rows = (
        (table.get("columns"), table.get("data")) if isinstance(table, dict) else (None, None)
    )
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise RefusedError(400, "dataframe_split has to have the lists columns and data.")
    place = columns.index(_text_column(columns))
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(columns):
            raise RefusedError(400, f"row {number} does not have {len(columns)} values.")
    return [row[place] for row in rows]


def _from_csv(body: bytes | bytearray) -> list[Any]:
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        place = header.index(_text_column(header))
        values: list[Any] = []
        for row in lines:
            if len(row) not in (0, len(header)):  # 0 is an empty line
                raise RefusedError(
                    400,
                    f"line {lines.line_num} has {len(row)} fields; the header has {len(header)}.",
                )
            if row:
                values.append(row[place])
            if len(values) > MAX_TEXTS:
                raise RefusedError(400, f"the table has more than {MAX_TEXTS:,} rows.")
    except (UnicodeDecodeError, csv.Error) as error:
        raise RefusedError(400, f"the body is not CSV in UTF-8: {first_line(error)}") from error
    return values


def _text_column(names: Sequence[Any]) -> Any:
    """Return the only column's name, or `text` if one of several has that name."""
    if len(names) == 1:
        return names[0]
    if names.count(TEXT_COLUMN) == 1:
        return TEXT_COLUMN
    listed = ", ".join(map(str, names[:SHOWN_CHARACTERS])) or "none"
    raise RefusedError(
        400,
        f"the columns are: {_shown(listed)}; a table has to have one column, or one that is named "
        f"{TEXT_COLUMN}.",
    )


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
