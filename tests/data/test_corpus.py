from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import DatasetConfig
from pipeline.data.corpus import load_corpus
from pipeline.errors import PipelineError
from pipeline.names import SPLITS
from tests.conftest import micro_rows


def written(folder: Path, **splits: pd.DataFrame) -> DatasetConfig:
    for split, rows in splits.items():
        rows.to_csv(folder / f"{split}.csv", index=False)
    return DatasetConfig(name="mine", data_dir=str(folder))


def test_splits_that_are_not_given_are_split_off_stratified_and_seeded(tmp_path: Path) -> None:
    config = written(tmp_path, train=micro_rows(300, 0))
    corpus = load_corpus(config)
    assert [len(corpus.splits[split]) for split in SPLITS] == [243, 27, 30]
    for split in SPLITS:
        counts = np.bincount(corpus.splits[split]["label"])
        assert counts.max() - counts.min() <= 1
    assert corpus.splits["test"]["text"] != corpus.splits["validation"]["text"]
    again = load_corpus(config)
    assert [corpus.digest(split) for split in SPLITS] == [again.digest(split) for split in SPLITS]
    config.split_seed = 1
    assert load_corpus(config).digest("test") != corpus.digest("test")


def test_nothing_is_in_two_of_the_splits_that_are_split_off(tmp_path: Path) -> None:
    rows = micro_rows(300, 0)
    rows["text"] = [f"{text} number{index}" for index, text in enumerate(rows["text"])]
    corpus = load_corpus(written(tmp_path, train=rows))
    texts = [text for split in SPLITS for text in corpus.splits[split]["text"]]
    assert sorted(texts) == sorted(rows["text"])


@pytest.mark.parametrize("given", [["cold", "hot", "wet"], ["0", "1", "2"]])
def test_labels_may_be_names_or_ids(tmp_path: Path, given: list[str]) -> None:
    rows = micro_rows(60, 0)
    expected = [["cold", "hot", "wet"].index(label) for label in rows["label"]]
    rows["label"] = [given[label] for label in expected]
    config = written(tmp_path, train=rows, validation=rows, test=rows)
    config.label_names = ["cold", "hot", "wet"]
    assert list(load_corpus(config).splits["test"]["label"]) == expected


def test_any_column_names_do(tmp_path: Path) -> None:
    config = written(
        tmp_path, train=micro_rows(300, 0).rename(columns={"text": "tweet body", "label": "mood"})
    )
    config.text_column, config.label_column = "tweet body", "mood"
    assert load_corpus(config).label_names == ("cold", "hot", "wet")


def test_a_missing_column_is_refused_with_the_columns_found(tmp_path: Path) -> None:
    config = written(tmp_path, train=micro_rows(30, 0))
    config.label_column = "lable"
    with pytest.raises(
        PipelineError,
        match=r"dataset.label_column='lable' is not in train; its columns are: text, label",
    ):
        load_corpus(config)


def test_bad_rows_are_named_by_number_or_dropped(tmp_path: Path) -> None:
    rows = micro_rows(300, 0)
    rows.loc[[4, 7], "text"] = ["  ", ""]
    rows.loc[9, "label"] = ""
    config = written(tmp_path, train=rows)
    with pytest.raises(
        PipelineError, match=r"train has 3 rows .* row 5, 8, 10 .*dataset.on_bad_rows=drop"
    ):
        load_corpus(config)
    config.on_bad_rows = "drop"
    assert sum(len(rows) for rows in load_corpus(config).splits.values()) == 297


def test_a_text_that_is_not_text_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(
        '{"text": "a", "label": 0}\n{"text": 5, "label": 1}\n'
        '{"text": null, "label": 1}\n{"text": "b", "label": [1]}\n'
    )
    with pytest.raises(PipelineError, match="train has 3 rows .* row 2, 3, 4 "):
        load_corpus(DatasetConfig(name="mine", data_dir=str(tmp_path)))


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    rows = micro_rows(30, 0)
    with pytest.raises(PipelineError, match="validation is empty"):
        load_corpus(written(tmp_path, train=rows, validation=rows[:0], test=rows))


@pytest.mark.parametrize("label_names", [None, ["cold", "hot", "wet"]])
def test_one_class_only_is_refused(tmp_path: Path, label_names: list[str] | None) -> None:
    rows = micro_rows(30, 0)
    config = written(tmp_path, train=rows[rows["label"] == "hot"], validation=rows, test=rows)
    config.label_names = label_names
    with pytest.raises(PipelineError, match=r"one class only \(hot\)"):
        load_corpus(config)


@pytest.mark.parametrize("label_names", [None, ["cold", "hot", "wet"]])
def test_a_label_that_train_does_not_have_is_refused(
    tmp_path: Path, label_names: list[str] | None
) -> None:
    rows = micro_rows(30, 0)
    config = written(tmp_path, train=rows[rows["label"] != "wet"], validation=rows, test=rows)
    config.label_names = label_names
    with pytest.raises(
        PipelineError, match=r"label 'wet' occurs in validation \(10 rows\) but not in train"
    ):
        load_corpus(config)


def test_too_few_rows_to_split_off_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="too few to split off test"):
        load_corpus(written(tmp_path, train=micro_rows(6, 0)))


def test_a_limit_keeps_the_first_rows_of_a_seeded_shuffle(tmp_path: Path) -> None:
    config = written(tmp_path, train=micro_rows(300, 0))
    config.max_train_samples, config.max_eval_samples = 50, 10
    corpus = load_corpus(config)
    assert [len(corpus.splits[split]) for split in SPLITS] == [50, 10, 10]
    assert set(corpus.splits["train"]["label"]) == {0, 1, 2}
    assert corpus.digest("train") == load_corpus(config).digest("train")
