"""Keep an output in parts beside it until it is whole: what is there under its name is complete."""

import base64
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from pipeline.bulk.origin import Origin
from pipeline.errors import PipelineError

FOLDER_SUFFIX = ".parts"
UNFINISHED = ".unfinished"
LOCK = "lock"
MANIFEST = "manifest.json"
WHOLE = "whole.parquet"
OWN_FILE = re.compile(r"lock|(manifest\.json|whole\.parquet|part-\d+\.parquet)(\.unfinished)?")
METADATA_KEY = b"int8_text_classifiers"  # of an output: its origin


@dataclass(frozen=True)
class Contents:
    """What an earlier start has found out about the input.

    Args:
        rows: number of rows, all of them with a text.
        schema: columns of the input.
    """

    rows: int
    schema: pa.Schema


class Parts:
    """The parts of one output, which lie in a folder beside it.

    Args:
        output: file that they become.
        origin: what the output is made of.

    Attributes:
        folder: the folder.
    """

    def __init__(self, output: Path, origin: Origin) -> None:
        self._output = output
        self._origin = origin
        self.folder = output.with_name(output.name + FOLDER_SUFFIX)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; a folder without any part is removed with the block.

        Raises:
            PipelineError: another process is at it, or the folder cannot be used.
        """
        lock = FileLock(self.folder / LOCK, timeout=0)
        try:
            self.folder.mkdir(exist_ok=True)
            self._refuse_strangers()
            lock.acquire()
        except Timeout as error:
            raise PipelineError(
                f"another process is writing {self._output}; wait for it, or choose another "
                "--output."
            ) from error
        except OSError as error:
            raise PipelineError(f"{self.folder} cannot be written: {error.strerror}.") from error
        try:
            yield
        finally:
            if not self.count():
                self._discard()
            lock.release()

    def is_whole(self) -> bool:
        """Tell whether the output is there, of this origin; parts that are left of it are removed.

        Raises:
            PipelineError: there is a file of that name which no predict has written.
        """
        if self._origin_of_output() != self._origin:
            return False
        self._discard()
        return True

    def contents(self) -> Contents | None:
        """Return what an earlier start of this origin knows about the input; None without one."""
        manifest = self._manifest()
        if Origin.read(manifest.get("origin", "")) != self._origin:
            return None
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(manifest["schema"])))
        return Contents(manifest["rows"], schema)

    def changes(self) -> str:
        """Name what has changed since the parts that are there were begun; empty without parts."""
        if not self.count():
            return ""
        return self._origin.changes(Origin.read(self._manifest().get("origin", "")))

    def begin(self, contents: Contents) -> None:
        """Remove what is there of another origin, and note what the parts are made of.

        Args:
            contents: what was found out about the input.
        """
        for file in self.folder.iterdir():
            if file.name != LOCK:
                file.unlink()
        schema = base64.b64encode(contents.schema.serialize().to_pybytes()).decode()
        manifest = {"origin": self._origin.written(), "rows": contents.rows, "schema": schema}
        text = json.dumps(manifest, indent=2)
        _write(self.folder / MANIFEST, lambda file: file.write_text(text, encoding="utf-8"))

    def count(self) -> int:
        """Return how many parts there are from the first on, without a gap."""
        number = 0
        while self._part(number).exists():
            number += 1
        return number

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part, which has its name when it is whole.

        Args:
            number: its place, from 0.
            table: its rows, PART_ROWS of them unless it is the last.
        """
        _write(self._part(number), lambda file: pq.write_table(table, file))

    def put_together(self, schema: pa.Schema, rows: int) -> None:
        """Make the output of all parts, and remove them.

        Args:
            schema: columns of the output.
            rows: number of rows that it has to have.

        Raises:
            PipelineError: a part is damaged, rows are missing, or a file of the output's name has
                come which no predict has written.
        """
        metadata = {**(schema.metadata or {}), METADATA_KEY: self._origin.written()}
        schema = schema.with_metadata(metadata)
        parts = [self._part(number) for number in range(self.count())]
        found = sum(_rows_of(part) for part in parts)
        if found != rows:
            raise PipelineError(
                f"{self.folder} has {found:,} of {rows:,} rows; remove it, and start again."
            )

        def write(file: Path) -> None:
            with pq.ParquetWriter(file, schema) as writer:
                for part in parts:
                    writer.write_table(pq.ParquetFile(part).read().cast(schema))

        _write(self.folder / WHOLE, write)
        self._origin_of_output()  # somebody may have put a file there meanwhile
        (self.folder / WHOLE).replace(self._output)
        self._discard()

    def _origin_of_output(self) -> Origin | None:
        """Read what the file of the output's name is made of; None if there is none.

        Raises:
            PipelineError: no predict has written it.
        """
        if not self._output.exists():
            return None
        try:
            metadata = pq.read_metadata(self._output).metadata or {}
        except (OSError, ValueError):
            metadata = {}
        if METADATA_KEY not in metadata:
            raise PipelineError(
                f"--output {self._output} is there already, and was not written by predict; remove "
                "it, or choose another."
            )
        return Origin.read(metadata[METADATA_KEY].decode())

    def _refuse_strangers(self) -> None:
        """Leave a folder of the user's alone that happens to have this name."""
        for file in sorted(self.folder.iterdir()):
            if not OWN_FILE.fullmatch(file.name):
                raise PipelineError(
                    f"{self.folder} holds {file.name}, which predict has not written; move it, or "
                    "choose another --output."
                )

    def _part(self, number: int) -> Path:
        return self.folder / f"part-{number:06}.parquet"

    def _manifest(self) -> dict[str, Any]:
        try:
            manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_bytes())
            return manifest
        except (OSError, ValueError):
            return {}

    def _discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _rows_of(part: Path) -> int:
    try:
        return int(pq.read_metadata(part).num_rows)
    except (OSError, ValueError) as error:
        raise PipelineError(f"{part} is damaged; remove it, and start again.") from error


def _write(file: Path, write: Callable[[Path], object]) -> None:
    """Let a file appear under its name when it is whole and on the disk."""
    unfinished = file.with_name(file.name + UNFINISHED)
    write(unfinished)
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    unfinished.replace(file)
