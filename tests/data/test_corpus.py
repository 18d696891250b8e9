import hashlib
import logging
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import DatasetConfig
from pipeline.data.corpus import load_corpus
from pipeline.errors import PipelineError
from pipeline.names import SPLITS, UNLABELLED
from tests.conftest import micro_rows
from tests.data.tables import write_table


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
    assert [corpus.digests[split] for split in SPLITS] == [again.digests[split] for split in SPLITS]
    config.split_seed = 1
    assert load_corpus(config).digests["test"] != corpus.digests["test"]


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
        match=r"dataset.label_column='lable' is not in .*train.csv; its columns are: text, label",
    ):
        load_corpus(config)


def test_bad_rows_are_named_by_number_or_dropped(tmp_path: Path) -> None:
    rows = micro_rows(300, 0)
    rows.loc[[4, 7], "text"] = ["  ", ""]
    rows.loc[9, "label"] = ""
    config = written(tmp_path, train=rows)
    with pytest.raises(
        PipelineError, match=r"train has 3 rows .* line 6 .* line 9 .* line 11 .*on_bad_rows=drop"
    ):
        load_corpus(config)
    config.on_bad_rows = "drop"
    assert sum(len(rows) for rows in load_corpus(config).splits.values()) == 297


def test_a_text_that_is_not_text_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(
        '{"text": "a", "label": 0}\n{"text": 5, "label": 1}\n'
        '{"text": null, "label": 1}\n{"text": "b", "label": [1]}\n'
    )
    with pytest.raises(PipelineError, match="train has 3 rows .* line 2 .* line 3 .* line 4 "):
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
    for validation, count in ((rows, "10 rows"), (rows[:3], "1 row")):
        splits = {"train": rows[rows["label"] != "wet"], "validation": validation, "test": rows}
        config = written(tmp_path, **splits)
        config.label_names = label_names
        with pytest.raises(
            PipelineError, match=rf"'wet' occurs in validation \({count}\) but not in train"
        ):
            load_corpus(config)


def test_too_few_texts_to_split_off_are_refused(tmp_path: Path) -> None:
    rows = pd.DataFrame({"text": ["one", "ONE ", "two", "three", "four"], "label": list("aabab")})
    with pytest.raises(
        PipelineError, match=r"train has 2 different texts of 2 classes, too few to split off vali"
    ):
        load_corpus(written(tmp_path, train=rows))


@pytest.mark.parametrize(("classes", "each", "sizes"), [(2, 6, [8, 2, 2]), (77, 10, [616, 77, 77])])
def test_a_part_that_is_split_off_has_every_class(
    tmp_path: Path, classes: int, each: int, sizes: list[int]
) -> None:
    labels = [f"class {row % classes}" for row in range(classes * each)]
    rows = pd.DataFrame({"text": [f"text {row}" for row in range(len(labels))], "label": labels})
    corpus = load_corpus(written(tmp_path, train=rows))
    assert [len(corpus.splits[split]) for split in SPLITS] == sizes
    assert all(set(rows["label"]) == set(range(classes)) for rows in corpus.splits.values())


@pytest.mark.parametrize("given", [("train",), ("train", "test")])
def test_a_class_too_small_to_split_is_named_and_stays_in_train(
    tmp_path: Path, given: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    rows = micro_rows(60, 0)
    rows.loc[0, ["text", "label"]] = "rare"
    corpus = load_corpus(written(tmp_path, **{**dict.fromkeys(given, rows), "train": rows}))
    assert "train has too few rows of rare to give one each to" in caplog.text
    rare = corpus.label_names.index("rare")
    assert list(corpus.splits["train"]["label"]).count(rare) == 1
    assert rare not in corpus.splits["validation"]["label"]


def test_no_text_is_in_two_of_the_splits_that_are_split_off(tmp_path: Path) -> None:
    number = np.random.default_rng(0).integers(0, 100, 1000)
    rows = pd.DataFrame({"text": [f"Text  {each}" for each in number], "label": number % 2})
    rows.loc[::2, "text"] = rows.loc[::2, "text"].str.lower()
    corpus = load_corpus(written(tmp_path, train=rows))
    texts = {
        split: {text.lower() for text in rows["text"]} for split, rows in corpus.splits.items()
    }
    assert [len(texts[split]) for split in SPLITS] == [81, 9, 10]
    assert len(set.union(*texts.values())) == 100
    assert sum(map(len, corpus.splits.values())) == 1000


def test_labels_keep_their_spelling(tmp_path: Path) -> None:
    rows = micro_rows(60, 0)
    rows["label"] = rows["label"].map({"cold": "007", "hot": "7", "wet": "1e3"})
    corpus = load_corpus(written(tmp_path, train=rows, validation=rows, test=rows[:1]))
    assert corpus.label_names == ("007", "1e3", "7")


def test_ids_or_names_is_decided_once_on_train(tmp_path: Path) -> None:
    rows = micro_rows(60, 0)
    rows["label"] = rows["label"].map({"cold": "01", "hot": "02", "wet": "other"})
    test = rows[rows["label"] != "other"]
    corpus = load_corpus(written(tmp_path, train=rows, validation=rows, test=test))
    assert [corpus.label_names[label] for label in corpus.splits["test"]["label"]] == list(
        test["label"]
    )


def test_booleans_are_the_same_classes_in_every_format(tmp_path: Path) -> None:
    rows = micro_rows(60, 0)
    rows["label"] = rows["label"] == "hot"
    rows.to_csv(tmp_path / "train.csv", index=False)
    rows.to_json(tmp_path / "validation.jsonl", orient="records", lines=True)
    rows.to_parquet(tmp_path / "test.parquet", index=False)
    corpus = load_corpus(DatasetConfig(name="mine", data_dir=str(tmp_path)))
    assert corpus.label_names == ("False", "True")
    assert len(set(corpus.digests.values())) == 1


def test_class_labels_of_each_file_are_read_by_its_own_names(tmp_path: Path) -> None:
    for split, names in {"train": ["2", "1"], "test": ["1", "2"]}.items():
        features = datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
        )
        texts = [f"text {row}" for row in range(40)]
        rows = {"text": texts, "label": [names.index("1"), names.index("2")] * 20}
        file = tmp_path / f"{split}.parquet"
        datasets.Dataset.from_dict(rows, features=features).to_parquet(file)
    corpus = load_corpus(DatasetConfig(name="mine", data_dir=str(tmp_path)))
    assert corpus.label_names == ("2", "1")
    assert corpus.splits["test"]["label"][:2] == [1, 0]


def test_a_limit_keeps_a_text_of_each_class_or_is_refused(tmp_path: Path) -> None:
    rows = micro_rows(300, 0)
    rows.loc[3:, "label"] = "hot"
    config = written(tmp_path, train=rows, validation=rows, test=rows)
    config.max_train_samples = 5
    corpus = load_corpus(config)
    assert sorted(set(corpus.splits["train"]["label"])) == [0, 1, 2]
    assert len(corpus.splits["train"]) == 5
    config.max_train_samples = 2
    with pytest.raises(
        PipelineError, match=r"max_train_samples=2 cannot keep a text of each of its 3 classes\."
    ):
        load_corpus(config)


def test_two_splits_have_one_digest_only_if_they_are_equal(tmp_path: Path) -> None:
    one = pd.DataFrame({"text": ["a\n1\tb", "c", "d"], "label": ["0", "1", "0"]})
    two = pd.DataFrame({"text": ["a", "b", "c", "d"], "label": ["0", "1", "1", "0"]})
    digests = load_corpus(written(tmp_path, train=one, validation=two, test=two)).digests
    assert digests["train"] != digests["test"]
    assert digests["validation"] == digests["test"]


def test_the_digest_is_that_of_version_0_1_0(tmp_path: Path) -> None:
    rows = pd.DataFrame({"text": ["a", "b\\n\tc"], "label": ["0", "1"]})
    corpus = load_corpus(written(tmp_path, train=rows, validation=rows, test=rows))
    expected = hashlib.sha256(b"0\ta\n1\tb\\n\tc\n").hexdigest()[:16]
    assert corpus.digests["train"] == expected


def test_labels_that_look_alike_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = micro_rows(60, 0).replace({"cold": "Hot"})
    with caplog.at_level(logging.WARNING):
        load_corpus(written(tmp_path, train=rows, validation=rows, test=rows))
    assert "labels 'Hot' and 'hot' look alike" in caplog.text


def test_a_limit_keeps_the_first_rows_of_a_seeded_shuffle(tmp_path: Path) -> None:
    config = written(tmp_path, train=micro_rows(300, 0))
    config.max_train_samples, config.max_eval_samples = 50, 10
    corpus = load_corpus(config)
    assert [len(corpus.splits[split]) for split in SPLITS] == [50, 10, 10]
    assert set(corpus.splits["train"]["label"]) == {0, 1, 2}
    assert corpus.digests["train"] == load_corpus(config).digests["train"]


def test_a_label_with_a_line_end_is_told_on_one_line(tmp_path: Path) -> None:
    rows = micro_rows(60, 0).replace({"cold": "two\nlines"})
    config = written(tmp_path, train=rows[rows["label"] != "wet"], validation=rows, test=rows)
    with pytest.raises(PipelineError, match=r"train has: hot, 'two\\nlines'\.") as caught:
        load_corpus(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_unlabelled_texts_are_those_that_are_not_measured_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    rows = micro_rows(60, 0)
    config = written(tmp_path, train=rows, validation=rows[:5], test=rows[5:10])
    seen = [rows["text"][0].upper(), f" {rows['text'][1].replace(' ', '  ')} ", rows["text"][9]]
    texts = ["one of them", "another", *seen]
    config.unlabelled_file = str(tmp_path / f"more{suffix}")
    write_table(pd.DataFrame({"source": "web", "text": texts}), Path(config.unlabelled_file))
    corpus = load_corpus(config)
    assert list(corpus.splits) == [*SPLITS, UNLABELLED]
    assert corpus.splits[UNLABELLED][:] == {"text": texts[:2], "label": [0, 0]}
    assert "unlabelled: left out 3 of 5 rows, whose texts are in validation or test" in caplog.text
    config.max_train_samples = config.max_eval_samples = 4
    limited = load_corpus(config)
    assert len(limited.splits[UNLABELLED]) >= 2, "a limit is for labelled texts"


def test_unlabelled_texts_change_no_other_digest(tmp_path: Path) -> None:
    config = written(tmp_path, train=micro_rows(60, 0))
    without = load_corpus(config).digests
    more = tmp_path / "more.csv"
    more.write_text("text\none of them\n")
    config.unlabelled_file = str(more)
    one = load_corpus(config).digests
    more.write_text("text\nanother\n")
    other = load_corpus(config).digests
    assert {split: one[split] for split in SPLITS} == without == dict(list(other.items())[:3])
    assert one[UNLABELLED] != other[UNLABELLED]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("body\none\n", "dataset.text_column='text' is not in .*more.csv; its columns are: body"),
        ('text\none\n""\n', "unlabelled has 1 row without a text: .*more.csv, line 3"),
        ("text\n", "unlabelled is empty; it needs at least one row with a text"),
    ],
)
def test_an_unlabelled_file_without_texts_is_refused(
    tmp_path: Path, content: str, reason: str
) -> None:
    config = written(tmp_path, train=micro_rows(60, 0))
    config.unlabelled_file = str(tmp_path / "more.csv")
    (tmp_path / "more.csv").write_text(content)
    with pytest.raises(PipelineError, match=reason):
        load_corpus(config)


def test_unlabelled_texts_that_are_all_measured_on_are_refused(tmp_path: Path) -> None:
    rows = micro_rows(60, 0)
    config = written(tmp_path, train=rows, validation=rows[:5], test=rows[5:10])
    rows[:3][["text"]].to_csv(tmp_path / "more.csv", index=False)
    config.unlabelled_file = str(tmp_path / "more.csv")
    with pytest.raises(PipelineError, match="all texts of dataset.unlabelled_file are in valid"):
        load_corpus(config)
