import numpy as np

from pipeline.inference.classifier import pad, probabilities


def test_rows_are_padded_to_the_longest_and_the_mask_says_where() -> None:
    ids, mask = pad([[5, 6, 7], [8]], pad_token_id=9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert ids.dtype == mask.dtype == np.int64


def test_probabilities_survive_large_logits() -> None:
    rows = probabilities(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))
    np.testing.assert_allclose(rows, [[0.5, 0.5], [0.0, 1.0]])
