import datasets
import numpy as np
import pyarrow as pa
import pytest

from pipeline.data import splits


@pytest.fixture
def table() -> pa.Table:
    labels = np.random.default_rng(0).integers(0, 5, 1003)
    return pa.table({"text": [str(row) for row in range(1003)], "label": labels})


def test_the_splits_are_those_of_the_datasets_library(
    table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "TAKEN_ROWS", 100)
    rows = datasets.Dataset(table).cast_column("label", datasets.ClassLabel(num_classes=5))
    expected = rows.train_test_split(test_size=0.13, stratify_by_column="label", seed=7)
    train, test = splits.split_off(table, 0.13, 7)
    assert train["text"].to_pylist() == expected["train"]["text"][:]
    assert test["text"].to_pylist() == expected["test"]["text"][:]
    shuffled = rows.shuffle(seed=7).select(range(120))
    assert splits.first_of_shuffle(table, 120, 7)["text"].to_pylist() == shuffled["text"][:]
    assert splits.first_with_each_class(table, 120, 7)["text"].to_pylist() == shuffled["text"][:]


def test_a_class_that_the_first_rows_lack_takes_a_later_rows_place(table: pa.Table) -> None:
    labels = np.zeros(1003, np.int64)
    labels[500], labels[501] = 1, 2
    rare = table.set_column(1, "label", pa.array(labels))
    first = splits.first_of_shuffle(rare, 10, 0)["text"].to_pylist()
    kept = splits.first_with_each_class(rare, 10, 0)
    assert sorted(kept["label"].to_pylist()) == [0] * 8 + [1, 2]
    assert kept["text"].to_pylist()[:8] == first[:8]


def test_classes_of_one_text_take_no_share_of_the_others() -> None:
    labels = [0] * 60 + [1] * 60 + list(range(2, 302))
    rows = pa.table({"text": [str(row) for row in range(420)], "label": labels})
    train, test = splits.split_off(rows, 0.1, 0)
    assert np.bincount(test["label"]).tolist() == [6, 6]
    assert np.bincount(train["label"]).tolist() == [54, 54, *[1] * 300]


def test_rows_are_taken_of_more_than_two_gib_of_text() -> None:
    chunk = pa.record_batch({"text": ["x" * 10**6, "y" * 10**6], "label": [0, 1]})
    large = pa.Table.from_batches([chunk] * 1100)  # one array, 1,100 times
    assert large.nbytes > 2**31
    taken = splits.first_of_shuffle(large, 4, 0)
    order = np.random.default_rng(0).permutation(len(large))[:4]
    assert [text[0] for text in taken["text"].to_pylist()] == ["xy"[row % 2] for row in order]
    assert taken["label"].to_pylist() == list(order % 2)
