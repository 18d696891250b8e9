"""Read Parquet, column by column and batch by batch."""

import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.rows import Columns, Rows, class_name
from pipeline.data.streams import open_bytes
from pipeline.errors import PipelineError

BATCH_ROWS = 10_000
# Under this key of its metadata, a file that the datasets library wrote has its features.
METADATA_KEY = b"huggingface"
BINARY = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)


def read_parquet(file: str, columns: Columns) -> Rows:
    """Read a table from Parquet: the wanted columns alone.

    Args:
        file: path or URL.
        columns: columns that are wanted.

    Returns:
        The rows. Ids of a class label of the datasets library are given as names.

    Raises:
        PipelineError: here or while the rows are read: a column is missing, or there are fewer
            rows than the file declares.
    """
    with open_bytes(file) as opened:
        schema = pq.read_schema(opened)
    columns.places_in(schema.names, file)
    names = _class_names(schema, columns.label)
    return Rows(file, "row", enumerate(_rows(file, columns, names), start=1), names)


def read_schema(file: str) -> pa.Schema:
    """Read the types of a table's columns.

    Args:
        file: path or URL.

    Returns:
        The schema without the features of the datasets library, which hold for its columns alone.
    """
    with open_bytes(file) as opened:
        schema = pq.read_schema(opened)
    others = {key: value for key, value in (schema.metadata or {}).items() if key != METADATA_KEY}
    return schema.with_metadata(others)


def read_batches(file: str, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read a table batch by batch.

    Args:
        file: path or URL.
        names: columns to read; None reads all.
    """
    with open_bytes(file) as opened:
        yield from pq.ParquetFile(opened).iter_batches(BATCH_ROWS, columns=names and list(names))


def text_values(column: pa.Array) -> list[object]:
    """Turn a column into Python's values; bytes, which some writers leave of texts, into texts.

    Args:
        column: a column of any type.

    Returns:
        The values. Bytes that are not UTF-8 stay bytes, for an error to name their row.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values = column.to_pylist()
    if any(is_kind(column.type) for is_kind in BINARY):
        return [_decoded(value) for value in values]
    return values


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _rows(file: str, columns: Columns, names: tuple[str, ...] | None) -> Iterator[Sequence[object]]:
    count = 0
    with open_bytes(file) as opened:
        table = pq.ParquetFile(opened)
        for batch in table.iter_batches(BATCH_ROWS, columns=list(columns.names)):
            values = [text_values(batch.column(name)) for name in columns.names]
            if names is not None:
                values[1] = [class_name(names, label) for label in values[1]]
            count += batch.num_rows
            yield from zip(*values, strict=True)
        if count != table.metadata.num_rows:
            raise PipelineError(
                f"{file} declares {table.metadata.num_rows:,} rows, and {count:,} can be read."
            )


def _class_names(schema: pa.Schema, label: str | None) -> tuple[str, ...] | None:
    """Read the names of a class label as the datasets library stores them."""
    try:
        declared = json.loads((schema.metadata or {})[METADATA_KEY])["info"]["features"][label]
        names = declared["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(map(str, names)) if declared.get("_type") == "ClassLabel" else None
