"""Read tables whole, as batches of Arrow: every column, in the order of the files."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa

from pipeline.data.delimited import SEPARATOR_BY_SUFFIX, read_delimited, read_header
from pipeline.data.files import check_format
from pipeline.data.json_rows import read_objects
from pipeline.data.parquet_rows import read_batches, read_schema
from pipeline.data.rows import Columns
from pipeline.data.streams import read_errors
from pipeline.errors import PipelineError

BATCH_ROWS = 10_000
# What an Arrow array says of values that it cannot hold together: 7 and "a", or 2 ** 64.
NOT_ALIKE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
TEXT = pa.string()


@dataclass(frozen=True)
class Table:
    """Files that make up one table.

    Args:
        files: paths or URLs, in order.
        encoding: encoding of text files; None recognizes it.
        columns: the columns with the texts.
        schema: every column of the files, with its type.
    """

    files: tuple[str, ...]
    encoding: str | None
    columns: Columns
    schema: pa.Schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read the rows of all files, as batches of this schema; what a file lacks is null.

        Raises:
            PipelineError: a file cannot be read, or is not what it was.
        """
        for file in self.files:
            with read_errors(file):
                for batch in self._batches_of(file):
                    yield _fitted(batch, self.schema)

    def check_values(self, file: str, names: Sequence[str]) -> None:
        """Make sure that a file's values are kept as they are, where another type is needed.

        Integers may be too large for the decimals of another file.

        Args:
            file: one of the files.
            names: columns that have another type in this file.

        Raises:
            PipelineError: a value cannot be kept.
        """
        with read_errors(file):
            try:
                for batch in self._batches_of(file, names):
                    for name in names:
                        batch.column(name).cast(self.schema.field(name).type)
            except NOT_ALIKE as error:
                raise _unfit(file, error) from error

    def _batches_of(
        self, file: str, names: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read a file; of Parquet, some columns alone."""
        suffix = check_format(file)
        if suffix == ".parquet":
            return read_batches(file, names)
        if suffix in SEPARATOR_BY_SUFFIX:
            return _delimited(file, self.encoding, self.columns)
        return _of_objects(read_objects(file, self.encoding, self.columns), self.schema)


def open_table(files: Sequence[str], encoding: str | None, columns: Columns) -> Table:
    """Find out the columns of files, and their types: those of JSON from all of its rows.

    Args:
        files: paths or URLs.
        encoding: encoding of text files; None recognizes it.
        columns: columns that have to be there.

    Raises:
        PipelineError: a file cannot be read, lacks a column, has one twice, or has a column of
            another type than the files before it, or a value that the type of all cannot hold.
    """
    schemas = [_schema_of(files[0], encoding, columns)]
    schema = schemas[0]
    for file in files[1:]:
        schemas.append(_schema_of(file, encoding, columns))
        try:
            schema = pa.unify_schemas([schema, schemas[-1]], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise _unfit(file, error) from error
    lacking = {name for name in schema.names if any(name not in own.names for own in schemas)}
    fields = [field.with_nullable(field.nullable or field.name in lacking) for field in schema]
    table = Table(tuple(files), encoding, columns, pa.schema(fields, schema.metadata))
    for file, own in zip(files, schemas, strict=True):
        if changed := [each.name for each in own if _is_converted(each, schema)]:
            table.check_values(file, changed)
    return table


def _unfit(file: str, error: Exception) -> PipelineError:
    reason = " ".join(str(error).split()).rstrip(".")
    return PipelineError(f"{file} does not fit to the other files: {reason}.")


def _is_converted(field: pa.Field, schema: pa.Schema) -> bool:
    """Tell whether a column gets another type, in which a value might be another."""
    wanted = schema.field(field.name).type
    return not (field.type.equals(wanted) or pa.types.is_null(field.type))


def _schema_of(file: str, encoding: str | None, columns: Columns) -> pa.Schema:
    suffix = check_format(file)
    with read_errors(file):
        if suffix == ".parquet":
            schema = _with_room(read_schema(file))
        elif suffix in SEPARATOR_BY_SUFFIX:
            header = read_header(file, encoding, columns, SEPARATOR_BY_SUFFIX[suffix])
            schema = pa.schema([(name, TEXT) for name in header])
        else:
            schema = _schema_of_objects(partial(read_objects, file, encoding, columns))
    others = tuple(name for name in schema.names if name not in columns.names)
    replace(columns, others=others).places_in(schema.names, file)
    return schema


def _with_room(schema: pa.Schema) -> pa.Schema:
    """Give dictionaries indices of 32 bits; of pandas, they have 8, too few for several files."""
    fields = [
        field.with_type(pa.dictionary(pa.int32(), field.type.value_type, field.type.ordered))
        if pa.types.is_dictionary(field.type)
        else field
        for field in schema
    ]
    return pa.schema(fields, schema.metadata)


def _delimited(file: str, encoding: str | None, columns: Columns) -> Iterator[pa.RecordBatch]:
    separator = SEPARATOR_BY_SUFFIX[check_format(file)]
    header = read_header(file, encoding, columns, separator)
    others = tuple(name for name in header if name not in columns.names)
    everything = replace(columns, others=others)
    rows = iter(read_delimited(file, encoding, everything, separator).values)
    schema = pa.schema([(name, TEXT) for name in everything.names])
    for part in iter(lambda: list(islice(rows, BATCH_ROWS)), []):
        values = zip(*(fields for _, fields in part), strict=True)
        yield pa.record_batch([pa.array(column, TEXT) for column in values], schema)


def _schema_of_objects(read: Callable[[], Iterable[Mapping[str, Any]]]) -> pa.Schema:
    """Find a type for each key of JSON's objects; TEXT where its values have none in common."""
    types: dict[str, pa.DataType] = {}
    joined: set[str] = set()
    for part in _parts(read()):
        for name in dict.fromkeys(name for row in part for name in row):
            found = _type_of([row.get(name) for row in part])
            known = types.get(name, found)
            types[name] = _common(known, found)
            if not (known.equals(found) or pa.types.is_null(known) or pa.types.is_null(found)):
                joined.add(name)
    joined = {name for name in joined if types[name] != TEXT}
    for part in _parts(read()) if joined else ():
        for name in joined:  # whose integers may be too large for the decimals of other rows
            if not _holds(types[name], [row.get(name) for row in part]):
                types[name] = TEXT
    # Some readers of Parquet do not know a column of which only nulls are known.
    named = {name: TEXT if pa.types.is_null(found) else found for name, found in types.items()}
    return pa.schema(list(named.items()))


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    iterator = iter(rows)
    return iter(lambda: list(islice(iterator, BATCH_ROWS)), [])


def _holds(wanted: pa.DataType, values: Sequence[object]) -> bool:
    if wanted == TEXT:
        return True
    try:
        pa.array(values, wanted)
    except NOT_ALIKE:
        return False
    return True


def _type_of(values: Sequence[object]) -> pa.DataType:
    try:
        found = pa.array(values).type
    except NOT_ALIKE:
        return TEXT
    return TEXT if _is_without_fields(found) else found


def _is_without_fields(found: pa.DataType) -> bool:
    """Tell whether an object within a type is always empty, which Parquet cannot hold."""
    if pa.types.is_struct(found):
        return not found.num_fields or any(_is_without_fields(field.type) for field in found)
    return pa.types.is_list(found) and _is_without_fields(found.value_type)


def _common(known: pa.DataType, found: pa.DataType) -> pa.DataType:
    schemas = [pa.schema([("", each)]) for each in (known, found)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except NOT_ALIKE:
        return TEXT


def _of_objects(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for part in _parts(rows):
        columns = []
        for field in schema:
            values = [row.get(field.name) for row in part]
            columns.append(
                pa.array(map(_as_text, values) if field.type == TEXT else values, field.type)
            )
        yield pa.record_batch(columns, schema)


def _as_text(value: object) -> str | None:
    """Write a value of a column that holds texts: others as JSON has them."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Give a batch the columns of a schema, in its order."""
    if batch.schema.equals(schema):
        return batch.cast(schema)
    present = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in present
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema)
