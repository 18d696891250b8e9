from pathlib import Path

import pytest

from pipeline.data.files import check_format, files_in, files_named
from pipeline.errors import PipelineError


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names_of(folder: Path) -> dict[str, list[str]]:
    return {
        split: [Path(file).relative_to(folder).as_posix() for file in files]
        for split, files in files_in(folder).items()
    }


@pytest.mark.parametrize("validation", ["validation.csv", "valid.tsv", "eval.jsonl", "Val.CSV.gz"])
def test_splits_have_the_names_that_people_give_them(tmp_path: Path, validation: str) -> None:
    folder_with(tmp_path, "train.csv", validation, "test.parquet", "README.md", "train.txt")
    assert names_of(tmp_path) == {
        "train": ["train.csv"],
        "validation": [validation],
        "test": ["test.parquet"],
    }


def test_tables_are_named_that_are_not_read_where_a_split_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names_of(folder_with(tmp_path, "train.csv", "dev.csv", "holdout.csv", "README.md"))
    assert "has no test file, so that train is split; not used: holdout.csv" in caplog.text
    caplog.clear()
    names_of(folder_with(tmp_path, "test.csv"))
    assert not caplog.text


def test_numbered_files_are_one_split_in_their_order(tmp_path: Path) -> None:
    parts = [f"data/train-{part:05}-of-00003.parquet" for part in (2, 0, 1)]
    folder_with(tmp_path, *parts, "data/test_10.csv", "data/test_9.csv")
    assert names_of(tmp_path) == {
        "train": sorted(parts),
        "test": ["data/test_9.csv", "data/test_10.csv"],
    }


def test_a_folder_may_be_a_split(tmp_path: Path) -> None:
    folder_with(tmp_path, "train/b.csv", "train/a.csv", "test.csv")
    assert names_of(tmp_path) == {"train": ["train/a.csv", "train/b.csv"], "test": ["test.csv"]}


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["a.csv"], r"no train file \(train.csv, .*\); it has: a.csv"),
        (["train.csv", "train.parquet"], "2 candidates for train: train.csv, train.parquet"),
        (["train.csv", "dev.csv", "val.csv"], "2 candidates for validation: dev.csv, val.csv"),
        (["train.csv", "train_1.csv"], "2 candidates for train: train.csv, train_1.csv"),
        (["train-0-of-3.csv", "train-2-of-3.csv"], "has 2 of the 3 files of train"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, names: list[str], line: str) -> None:
    with pytest.raises(PipelineError, match=line):
        files_in(folder_with(tmp_path, *names))


def test_a_pattern_names_several_files(tmp_path: Path) -> None:
    folder_with(tmp_path, "part-10.csv", "part-9.csv", "part-x.tsv", "[1].csv")
    files = files_named("dataset.train_file", str(tmp_path / "part-*.csv"))
    assert [Path(file).name for file in files] == ["part-9.csv", "part-10.csv"]
    assert files_named("dataset.train_file", str(tmp_path / "[1].csv"))
    with pytest.raises(PipelineError, match="dataset.test_file=.*none-.* does not exist"):
        files_named("dataset.test_file", str(tmp_path / "none-*.csv"))


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(
        PipelineError,
        match=r"unknown format '.xlsx'; accepted: .csv, .tsv, .jsonl, .ndjson, .json, .parquet",
    ):
        check_format("rows.xlsx")


def test_a_folder_that_cannot_be_read_is_one_line(closed: Path) -> None:
    with pytest.raises(
        PipelineError, match="the folder .*closed cannot be read: Permission denied"
    ):
        files_in(closed)
    with pytest.raises(PipelineError, match="closed/inner is not a directory on this machine"):
        files_in(closed / "inner")
