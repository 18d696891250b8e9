from pathlib import Path

import pandas as pd
import pytest

from pipeline.config.schema import DatasetConfig
from pipeline.data.sources import read_sources, read_table
from pipeline.errors import PipelineError

ROWS = pd.DataFrame({"text": ["NA", "123", "a, b"], "label": ["null", "x", "y"]})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_every_format_gives_the_texts_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"rows{suffix}"
    if suffix in (".csv", ".tsv"):
        ROWS.to_csv(file, sep="\t" if suffix == ".tsv" else ",", index=False)
    elif suffix == ".parquet":
        ROWS.to_parquet(file)
    else:
        ROWS.to_json(file, lines=True, orient="records")
    assert read_table(str(file)).to_dict("list") == ROWS.to_dict("list")


def test_an_unknown_format_names_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "rows.xlsx").touch()
    with pytest.raises(
        PipelineError,
        match=r"unknown format '.xlsx'; accepted: .csv, .tsv, .jsonl, .json, .parquet",
    ):
        read_table(str(tmp_path / "rows.xlsx"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("binary.csv", b"text,label\n\xff\xfe\x00,a\n"),
        ("broken.jsonl", b"{text"),
        ("not.parquet", b"text"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PipelineError, match=name) as caught:
        read_table(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_folder_is_read_by_the_names_of_its_files(micro_corpus: Path) -> None:
    found = read_sources(DatasetConfig(name="micro", data_dir=str(micro_corpus)))
    assert {split: len(frame) for split, frame in found.frames.items()} == {
        "train": 240,
        "validation": 60,
        "test": 60,
    }


def test_a_folder_without_train_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(PipelineError, match=r"no train file .* it has: a.csv"):
        read_sources(DatasetConfig(name="micro", data_dir=str(tmp_path)))


def test_without_the_hub_the_error_says_how_to_run_from_local_files() -> None:
    with pytest.raises(PipelineError) as caught:
        read_sources(DatasetConfig(name="emotion", path="dair-ai/emotion", config_name="split"))
    assert "model.name_or_path=DIR dataset=emotion dataset.data_dir=DIR" in str(caught.value)
    assert "\n" not in str(caught.value)
