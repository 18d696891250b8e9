"""Classify a table into a Parquet file: check, go on with what is there, classify, put together."""

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from pipeline.bulk.answers import AnswerColumns, columns_beside
from pipeline.bulk.job import PART_ROWS, Job
from pipeline.bulk.origin import origin_of
from pipeline.bulk.parts import Contents, Parts
from pipeline.bulk.questions import Questions, checked_texts, count_checked
from pipeline.console import interrupt
from pipeline.console.command_line import counter, note
from pipeline.console.disk import disk_errors
from pipeline.data.tables import Table, open_table
from pipeline.errors import INTERRUPTED, PipelineError

Engine = Callable[[Questions, AnswerColumns], Iterable[pa.RecordBatch]]
"""Adds the answers to rows, and gives them back in order, in batches of any size."""


def classify_table(job: Job, engine: Engine) -> None:
    """Classify every row of a table; go on where an earlier start was stopped.

    Args:
        job: the table, the model and the output.
        engine: what classifies.

    Raises:
        PipelineError: a file, a column or a text is not as it should be, the output is taken, or
            another process is writing it.
        KeyboardInterrupt: with a line that says how far it got.
    """
    origin = origin_of(job)
    parts = Parts(job.output, origin)
    with disk_errors(job.output.parent), parts.locked():
        if parts.is_whole():
            note(f"{job.output} is whole already, of the same input, model and columns.")
            return
        if job.output.exists():
            note(f"{job.output} is of another input, model or columns, and will be replaced.")
        contents = parts.contents() or _checked(job, parts)
        answers = columns_beside(contents.schema.names, scores=job.scores)
        if answers.renamed:
            note(f"some names are taken: the answers are in {', '.join(answers.names)}.")
        _write_parts(job, parts, contents, engine)
        if origin_of(job) != origin:
            raise PipelineError("the input or the model has changed meanwhile; start again.")
        parts.put_together(answers.schema(contents.schema, job.label_names), contents.rows)
        note(f"{job.output}: {contents.rows:,} rows are classified.")


def _checked(job: Job, parts: Parts) -> Contents:
    """Check the whole input, which takes a small part of the time, before hours are spent on it."""
    table = open_table(job.files, job.encoding, job.columns)
    columns_beside(table.schema.names, scores=job.scores)
    with counter("check", "row") as progress:
        texts = checked_texts(job.files, job.encoding, job.columns)
        contents = Contents(count_checked(texts, progress.update), table.schema)
    if changes := parts.changes():
        note(f"another {changes} than in {parts.folder}: starting anew.")
    parts.begin(contents)
    return contents


def _write_parts(job: Job, parts: Parts, contents: Contents, engine: Engine) -> None:
    """Classify the rows of the parts that are missing.

    Raises:
        KeyboardInterrupt: with a line that says how far it got.
    """
    number = parts.count()
    done = min(contents.rows, number * PART_ROWS)
    if done:
        note(f"going on: {done:,} of {contents.rows:,} rows are there.")
    table = Table(job.files, job.encoding, job.columns, contents.schema)
    answers = columns_beside(table.schema.names, scores=job.scores)
    try:
        with counter("classify", "text", contents.rows, done) as progress:
            batches = engine(Questions(table, done), answers)
            for rows in _of_part_size(batches, progress.update):
                parts.write(number, rows)
                number += 1
                interrupt.check()
    except KeyboardInterrupt as stop:
        kept = min(contents.rows, parts.count() * PART_ROWS)
        raise KeyboardInterrupt(
            f"{INTERRUPTED}; {kept:,} of {contents.rows:,} rows are kept: the same command goes on."
        ) from stop


def _of_part_size(
    batches: Iterable[pa.RecordBatch], answered: Callable[[int], object]
) -> Iterator[pa.Table]:
    """Put batches together, and cut them, to PART_ROWS rows each; the last has the rest."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        answered(batch.num_rows)
        while rows + batch.num_rows >= PART_ROWS:
            head = PART_ROWS - rows
            yield pa.Table.from_batches([*waiting, batch.slice(0, head)])
            batch, waiting, rows = batch.slice(head), [], 0
        if batch.num_rows:
            waiting.append(batch)
            rows += batch.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting)
