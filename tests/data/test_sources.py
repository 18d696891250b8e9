import logging
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.schema import DatasetConfig
from pipeline.data.sources import read_sources
from pipeline.errors import PipelineError
from tests.data.tables import Pairs, read, write_table, written

ROWS = pd.DataFrame({"text": ["NA", "123", "a, b"], "label": ["null", "x", "y"]})


def rows_of(config: DatasetConfig, split: str) -> Pairs:
    table = read_sources(config).tables[split].to_pydict()
    return list(zip(table["text"], table["label"], strict=True))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_every_format_gives_the_texts_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"rows{suffix}"
    write_table(ROWS, file)
    assert read(file) == list(ROWS.itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("binary.csv", b"text,label\n\xff\xfe\x00,a\n"),
        ("broken.jsonl", b"{text"),
        ("not.parquet", b"text"),
        ("not.csv.gz", b"text"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes
) -> None:
    with pytest.raises(PipelineError, match=name) as caught:
        read(written(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_a_folder_is_read_by_the_names_of_its_files(micro_corpus: Path) -> None:
    found = read_sources(DatasetConfig(name="micro", data_dir=str(micro_corpus)))
    assert {split: len(table) for split, table in found.tables.items()} == {
        "train": 240,
        "validation": 60,
        "test": 60,
    }


def test_the_files_of_a_split_are_read_one_after_another(tmp_path: Path) -> None:
    written(tmp_path / "train-1.csv", "text,label\na,x\n")
    written(tmp_path / "train-2.csv", "label;text\ny;b\n")
    config = DatasetConfig(name="mine", train_file=str(tmp_path / "train-*.csv"))
    assert rows_of(config, "train") == [("a", "x"), ("b", "y")]


def test_a_bad_row_is_named_by_file_and_line_or_left_out_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path / "train-1.csv", "text,label\na,x\n\n  ,y\nc,\n")
    written(tmp_path / "train-2.jsonl", '{"text": 5, "label": 1}\n{"text": "d", "label": [1]}\n')
    config = DatasetConfig(name="mine", train_file=str(tmp_path / "train-*"))
    with pytest.raises(PipelineError) as caught:
        read_sources(config)
    line = str(caught.value)
    assert "train has 4 rows without a text or a label" in line
    assert "train-1.csv, line 4 (the text is empty); " in line
    assert "train-1.csv, line 5 (the label is empty); " in line
    assert "train-2.jsonl, line 1 (int for a text); " in line
    assert "train-2.jsonl, line 2 (a list for a label); correct them, or set" in line
    config.on_bad_rows = "drop"
    with caplog.at_level(logging.WARNING):
        assert rows_of(config, "train") == [("a", "x")]
    assert "train: left out 4 of 5 rows: " in caplog.text


def test_half_a_character_is_a_bad_row(tmp_path: Path) -> None:
    written(tmp_path / "train.jsonl", '{"text": "a \\ud83d", "label": "x"}\n')
    with pytest.raises(PipelineError, match="line 1 \\(half a character in the text\\)"):
        read_sources(DatasetConfig(name="mine", data_dir=str(tmp_path)))


def test_bytes_that_are_no_text_are_a_bad_row(tmp_path: Path) -> None:
    rows = {"text": [b"a", b"caf\xe9"], "label": [b"caf\xe9", b"x"]}
    pq.write_table(pa.table(rows), tmp_path / "train.parquet")
    with pytest.raises(PipelineError) as caught:
        read_sources(DatasetConfig(name="mine", data_dir=str(tmp_path)))
    assert "train.parquet, row 1 (the label is not UTF-8); " in str(caught.value)
    assert "train.parquet, row 2 (the text is not UTF-8); " in str(caught.value)


def test_white_space_around_labels_is_taken_off_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path / "train.csv", "text,label\na,pos\nb,pos \nc, neg\nd,neg\n")
    config = DatasetConfig(name="mine", data_dir=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert [label for _, label in rows_of(config, "train")] == ["pos", "pos", "neg", "neg"]
    assert "train: took white space off the label of 2 rows: 'pos ', ' neg'" in caplog.text


def test_the_texts_of_a_pair_are_joined_by_a_tab(tmp_path: Path) -> None:
    written(tmp_path / "train.csv", "q,a,label\none,t\two,x\nthree,,y\n")
    config = DatasetConfig(name="mine", data_dir=str(tmp_path), on_bad_rows="drop")
    config.text_column, config.text_pair_column = "q", "a"
    assert rows_of(config, "train") == [("one\tt wo", "x")]


def test_nothing_stays_behind_in_the_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "train.csv", "text,label\na,x\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    table = read_sources(DatasetConfig(name="mine", data_dir=str(tmp_path))).tables["train"]
    assert not list(scratch.iterdir())
    assert table.to_pydict() == {"text": ["a"], "label": ["x"]}


def test_class_labels_of_the_hub_are_read_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["1", "2"])}
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    commit = "0123456789abcdef0123456789abcdef01234567"
    rows.info.download_checksums = {f"hf://datasets/owner/mine@{commit}/train.csv": {}}
    splits = datasets.DatasetDict({"train": rows, "test": rows.select([0])})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: splits)
    config = DatasetConfig(name="mine", path="owner/mine", validation_split=None)
    assert rows_of(config, "train") == [("a", "2"), ("b", "1")]
    assert read_sources(config).class_names == ("1", "2")
    assert read_sources(config).commit == commit
    config.label_column = "lable"
    with pytest.raises(PipelineError, match="is not in owner/mine, train; its columns are: text"):
        read_sources(config)


def test_a_split_that_the_hub_lacks_is_taken_from_train(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
    splits = datasets.DatasetDict({"train": rows, "test": rows})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: splits)
    config = DatasetConfig(name="mine", path="owner/mine")
    assert set(read_sources(config).tables) == {"train", "test"}
    assert "owner/mine has no split validation: it is taken from train" in caplog.text
    config.validation_split = "dev"
    with pytest.raises(PipelineError, match=r"validation_split=dev is not in owner/mine; it has: "):
        read_sources(config)


def test_without_the_hub_the_error_says_how_to_run_from_local_files() -> None:
    with pytest.raises(PipelineError) as caught:
        read_sources(DatasetConfig(name="emotion", path="dair-ai/emotion", config_name="split"))
    assert "model.name_or_path=DIR dataset=files dataset.data_dir=DIR" in str(caught.value)
    assert "\n" not in str(caught.value)
