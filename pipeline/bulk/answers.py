"""Put a classifier's answers beside the rows that they are for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.data.cleaning import join_pair
from pipeline.data.parquet_rows import text_values
from pipeline.data.rows import Columns
from pipeline.errors import PipelineError
from pipeline.inference.classifier import DECIMALS

LABEL, SCORE, SCORES = "label", "score", "scores"
PREFIX = "predicted_"  # of an answer's column, where the table has one of that name


@dataclass(frozen=True)
class AnswerColumns:
    """Names of the columns that are added to a table.

    Args:
        label: name of the column with the best class.
        score: name of the column with that class's score.
        scores: name of the column with every class's score, a struct; None leaves it out.
    """

    label: str
    score: str
    scores: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the columns."""
        return (self.label, self.score, *([] if self.scores is None else [self.scores]))

    @property
    def renamed(self) -> tuple[str, ...]:
        """Those names that are not the usual ones, because the table has these."""
        return tuple(name for name in self.names if name.startswith(PREFIX))

    def schema(self, table: pa.Schema, label_names: Sequence[str]) -> pa.Schema:
        """Return the columns of a table with these behind them.

        Args:
            table: columns of the table.
            label_names: classes in the order of their ids.
        """
        added = [pa.field(self.label, pa.string()), pa.field(self.score, pa.float64())]
        if self.scores is not None:
            every = pa.struct([(name, pa.float64()) for name in label_names])
            added.append(pa.field(self.scores, every))
        return pa.schema([*table, *added], table.metadata)


def columns_beside(present: Sequence[str], *, scores: bool) -> AnswerColumns:
    """Choose names that a table does not have yet.

    Args:
        present: names of the table's columns.
        scores: whether every class's score is wanted.

    Returns:
        label, score and scores; those that are taken begin with PREFIX.

    Raises:
        PipelineError: the table has a column of that name as well.
    """
    chosen = {}
    for name in (LABEL, SCORE, *([SCORES] if scores else [])):
        chosen[name] = f"{PREFIX}{name}" if name in present else name
        if chosen[name] in present:
            raise PipelineError(
                f"the table has the columns {name} and {chosen[name]}, and the answers need one of "
                "these names; rename one of them."
            )
    return AnswerColumns(chosen[LABEL], chosen[SCORE], chosen.get(SCORES))


def texts_of(batch: pa.RecordBatch, columns: Columns) -> list[str]:
    """Return what the classifier is asked of each row: a text, or a pair with a tab between.

    Args:
        batch: rows of a table.
        columns: the columns with the texts.
    """
    values = [text_values(batch.column(name)) for name in columns.names]
    if columns.text_pair is None:
        return [str(value) for value in values[0]]
    return [join_pair(*pair) for pair in zip(*values, strict=True)]


def with_answers(
    batch: pa.RecordBatch,
    probabilities: np.ndarray,
    columns: AnswerColumns,
    label_names: Sequence[str],
) -> pa.RecordBatch:
    """Add the answers to rows of a table.

    Args:
        batch: the rows.
        probabilities: (rows, num_labels), float32.
        columns: names of the columns to add.
        label_names: classes in the order of their ids.
    """
    # The same digits as round() gives: the product of a float32 and 10 ** 6 is exact.
    rounded = probabilities.astype(np.float64).round(DECIMALS)
    schema = columns.schema(batch.schema, label_names)
    best = probabilities.argmax(axis=1)
    arrays = [
        pa.array(label_names, pa.string()).take(pa.array(best)),
        pa.array(rounded[np.arange(len(best)), best]),
    ]
    if columns.scores is not None:
        every = [pa.array(column) for column in np.ascontiguousarray(rounded.T)]
        arrays.append(pa.StructArray.from_arrays(every, fields=list(schema[-1].type)))
    return pa.record_batch([*batch.columns, *arrays], schema)
