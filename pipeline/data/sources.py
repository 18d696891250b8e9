"""Read the splits of a corpus, from files or the Hugging Face Hub, into tables on disk."""

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config.hub import LOCAL_HINT
from pipeline.config.schema import DatasetConfig
from pipeline.console.command_line import counter
from pipeline.data.cleaning import Findings, good_rows, report
from pipeline.data.delimited import SEPARATOR_BY_SUFFIX, read_delimited
from pipeline.data.files import check_format, files_in, files_named
from pipeline.data.json_rows import read_json
from pipeline.data.mapped import on_disk
from pipeline.data.parquet_rows import read_parquet
from pipeline.data.rows import Columns, Rows, class_name
from pipeline.data.streams import read_errors
from pipeline.errors import PipelineError
from pipeline.names import SPLITS, TRAIN, UNLABELLED

log = logging.getLogger(__name__)
BATCH_ROWS = 10_000
SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string())])
COMMIT_IN_ADDRESS = re.compile(r"@([0-9a-f]{40})/")  # hf://datasets/OWNER/NAME@COMMIT/FILE


@dataclass(frozen=True)
class Sources:
    """The splits as they were read: every row has a text and a label.

    Args:
        tables: table by split: train, and validation and test where given, with the columns text
            and label as text. They lie in files that are mapped into memory.
        class_names: classes by id if train declares them, else None.
        unlabelled: further texts, in a table of the same columns; None without any.
        origin: directory, file, URL or Hub id that the tables come from, for the record.
        commit: commit of the Hub; None for files, and where the library does not tell it.
    """

    tables: Mapping[str, pa.Table]
    class_names: tuple[str, ...] | None
    unlabelled: pa.Table | None
    origin: str
    commit: str | None = None


def read_sources(config: DatasetConfig) -> Sources:
    """Read the splits from train_file, else from data_dir, else from the Hub.

    Args:
        config: the dataset group.

    Returns:
        The tables: each row checked, and bad rows left out with on_bad_rows=drop.

    Raises:
        PipelineError: a file is missing or unreadable, a column is missing, a row is bad, a split
            is empty, or the Hub does not answer.
    """
    if config.train_file:
        keys = {split: f"{split}_file" for split in SPLITS if getattr(config, f"{split}_file")}
        files = {
            split: files_named(f"dataset.{key}", getattr(config, key))
            for split, key in keys.items()
        }
        origin = config.train_file
    elif config.data_dir:
        files, origin = files_in(Path(config.data_dir)), config.data_dir
    else:
        tables, commit = _hub_splits(config)
        return replace(_sources(tables, str(config.path), config), commit=commit)
    columns = Columns.of(config)
    tables = {
        split: [read_rows(file, config.encoding, columns) for file in paths]
        for split, paths in files.items()
    }
    return _sources(tables, origin, config)


def read_rows(file: str, encoding: str | None, columns: Columns) -> Rows:
    """Read one table in the format that its name ends with.

    Args:
        file: path or URL.
        encoding: encoding of a text file; None recognizes it.
        columns: columns that are wanted.

    Returns:
        The rows, which are read while they are taken.

    Raises:
        PipelineError: here or while the rows are read: the name ends otherwise, a column is
            missing, or the content is not what the name says.
    """
    suffix = check_format(file)
    with read_errors(file):
        if suffix in SEPARATOR_BY_SUFFIX:
            rows = read_delimited(file, encoding, columns, SEPARATOR_BY_SUFFIX[suffix])
        elif suffix == ".parquet":
            rows = read_parquet(file, columns)
        else:
            rows = read_json(file, encoding, columns)
    return replace(rows, values=_guarded(rows))


def _guarded(rows: Rows) -> Iterator[tuple[int, Sequence[object]]]:
    with read_errors(rows.source):
        yield from rows.values


def _sources(tables: Mapping[str, Sequence[Rows]], origin: str, config: DatasetConfig) -> Sources:
    clean = {split: _good_rows(parts, split, config) for split, parts in tables.items()}
    return Sources(clean, tables[TRAIN][0].class_names, _unlabelled(config), origin)


def _unlabelled(config: DatasetConfig) -> pa.Table | None:
    if config.unlabelled_file is None:
        return None
    files = files_named("dataset.unlabelled_file", config.unlabelled_file)
    columns = replace(Columns.of(config), label=None)
    parts = [read_rows(file, config.encoding, columns) for file in files]
    return _good_rows([_with_label(rows) for rows in parts], UNLABELLED, config)


def _with_label(rows: Rows) -> Rows:
    """Give rows that have none a label, whose place is behind the text."""
    values = ((number, [text, 0, *second]) for number, (text, *second) in rows.values)
    return replace(rows, values=values)


def _good_rows(parts: Sequence[Rows], split: str, config: DatasetConfig) -> pa.Table:
    findings = Findings()
    with counter(f"read {split}", "row") as progress:
        table = on_disk(_batches(good_rows(parts, findings), progress.update), SCHEMA)
    report(findings, split, config.name, drop=config.on_bad_rows == "drop")
    return table


def _batches(
    rows: Iterator[tuple[str, str]], read: Callable[[int], object]
) -> Iterator[pa.RecordBatch]:
    """Put rows together for Arrow, and report how many were read."""
    while batch := list(islice(rows, BATCH_ROWS)):
        read(len(batch))
        yield pa.record_batch(list(map(list, zip(*batch, strict=True))), SCHEMA)


def _hub_splits(config: DatasetConfig) -> tuple[dict[str, list[Rows]], str | None]:
    """Load the splits from the Hub or its cache, and name their commit."""
    import datasets

    try:
        downloaded = datasets.load_dataset(
            config.path, config.config_name, revision=config.revision
        )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        message = f": {str(error).splitlines()[0]}" if str(error) else ""
        raise PipelineError(
            f"dataset {config.path} cannot be loaded from the Hugging Face Hub "
            f"({type(error).__name__}{message}); to run from local files: {LOCAL_HINT}"
        ) from error
    hub_names = _hub_names(config, downloaded)
    rows = {
        split: [_hub_rows(downloaded[name], f"{config.path}, {name}", Columns.of(config))]
        for split, name in hub_names.items()
    }
    files = downloaded[config.train_split].download_checksums or {}
    commits = {found[1] for file in files if (found := COMMIT_IN_ADDRESS.search(file))}
    return rows, commits.pop() if len(commits) == 1 else None


def _hub_names(config: DatasetConfig, found: Collection[str]) -> dict[str, str]:
    """Return the names of the splits on the Hub; those that train is split into have none.

    Args:
        config: the dataset group.
        found: names of the splits that the Hub has.

    Raises:
        PipelineError: it lacks one that is not called as by default.
    """
    names = {split: getattr(config, f"{split}_split") for split in SPLITS}
    lacking = {split: name for split, name in names.items() if name and name not in found}
    for split, name in lacking.items():
        if split == TRAIN or name != getattr(DatasetConfig, f"{split}_split"):
            raise PipelineError(
                f"dataset.{split}_split={name} is not in {config.path}; it has: {', '.join(found)}."
            )
        log.warning("%s has no split %s: it is taken from train", config.path, name)
    return {split: name for split, name in names.items() if name and split not in lacking}


def _hub_rows(split: Any, source: str, columns: Columns) -> Rows:
    import datasets

    columns.places_in(split.column_names, source)
    feature = split.features[columns.label]
    names = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None

    def rows() -> Iterator[Sequence[object]]:
        for batch in split.select_columns(list(columns.names)).iter(BATCH_ROWS):
            values = [batch[name] for name in columns.names]
            if names is not None:
                values[1] = [class_name(names, label) for label in values[1]]
            yield from zip(*values, strict=True)

    return Rows(source, "row", enumerate(rows(), start=1), names)
