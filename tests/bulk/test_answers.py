import numpy as np
import pyarrow as pa
import pytest

from pipeline.bulk.answers import columns_beside, with_answers
from pipeline.errors import PipelineError

LABELS = ("cold", "hot")


def test_scores_have_the_digits_that_predict_prints() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((5000, 2), dtype=np.float32)
    scores[:3] = [[2.5e-6, 1.5e-6], [1e-9, 1.0], [0.9999995, 5e-7]]
    table = with_answers(
        pa.record_batch({"text": ["a"] * 5000}),
        scores,
        columns_beside(["text"], scores=True),
        LABELS,
    )
    for row, answer in zip(scores, table.to_pylist(), strict=True):
        assert answer["label"] == LABELS[row.argmax()]
        assert answer["score"] == round(float(row.max()), 6)
        assert list(answer["scores"].values()) == [round(float(value), 6) for value in row]


def test_no_column_of_the_table_is_overwritten() -> None:
    assert columns_beside(["text"], scores=False).names == ("label", "score")
    beside = columns_beside(["text", "label", "scores"], scores=True)
    assert beside.names == ("predicted_label", "score", "predicted_scores")
    with pytest.raises(PipelineError, match="has the columns score and predicted_score"):
        columns_beside(["score", "predicted_score"], scores=False)
