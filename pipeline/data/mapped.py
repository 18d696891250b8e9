"""Keep a table in a file that is mapped into memory: a corpus may be larger than that."""

import tempfile
from collections.abc import Iterable

import pyarrow as pa


def on_disk(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Write rows to a file without a name, and map it into memory.

    The mapping outlives the file's name, which is gone when this returns.

    Args:
        batches: rows, which are read once.
        schema: columns of the rows.

    Raises:
        OSError: the folder for temporary files is full, or cannot be written to.
    """
    with tempfile.NamedTemporaryFile(prefix="pipeline-", suffix=".arrow") as file:
        with pa.ipc.new_stream(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        return pa.ipc.open_stream(pa.memory_map(file.name)).read_all()
