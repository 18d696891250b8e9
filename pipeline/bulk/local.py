"""Classify rows in this process, with all of its CPUs."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pyarrow as pa

from pipeline.bulk.answers import AnswerColumns, texts_of, with_answers
from pipeline.bulk.questions import Questions
from pipeline.inference.classifier import TextClassifier


def answered_here(
    classifier: TextClassifier, questions: Questions, columns: AnswerColumns
) -> Iterator[pa.RecordBatch]:
    """Classify rows while they are read.

    Args:
        classifier: the classifier.
        questions: the rows.
        columns: names of the columns to add.

    Yields:
        The rows with their answers, in order.
    """
    waiting = deque[pa.RecordBatch]()

    def texts() -> Iterator[str]:
        for batch in questions.batches():
            waiting.append(batch)
            yield from texts_of(batch, questions.table.columns)

    answers = (row for _, row in classifier.stream(texts()))
    for first in answers:
        batch = waiting.popleft()
        probabilities = np.stack([first, *islice(answers, batch.num_rows - 1)])
        yield with_answers(batch, probabilities, columns, classifier.label_names)
