from pathlib import Path

import pytest

from pipeline import assets, compare, predict, report, server
from pipeline.config.paths import with_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_home_folder_is_written_out_where_nothing_has_that_very_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert with_home("~/part-*.csv") == str(home / "part-*.csv")
    for other in ("a~b", "hdfs://~/x", "./~", "-", "models:/m@a", "~nobody-of-this-name/x"):
        assert with_home(other) == other
    monkeypatch.chdir(home)
    (home / "~").mkdir()
    assert with_home("~") == "~"


def test_options_take_the_home_folder(home: Path) -> None:
    file = home / "x.parquet"
    assert compare.parser().parse_args(["--output=~/x.parquet"]).output == file
    assert report.parser().parse_args(["0", "--output=~/x.parquet"]).output == file
    assert assets.parser().parse_args(["--folder=~"]).folder == home
    assert server.parser().parse_args(["--folder=~"]).folder == home
    options = predict.parser().parse_args(["--file=~/x.parquet", "--output=~/x.parquet"])
    assert (options.file, options.output) == (str(file), str(file))
