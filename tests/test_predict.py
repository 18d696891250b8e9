"""python -m pipeline.predict with tables; lines of text are in tests/e2e/test_deployment.py."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline import predict

MODEL = Path(__file__).parent / "inference/model_of_0_1_0/artifacts/onnx_int8"
CONTENT = "id;review\n007;snow and ice\n008;the sun was full of fire\n009;wäsche\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "in.csv"
    file.write_text(CONTENT, encoding="cp1252")
    return file


def typed(table: Path, *arguments: str) -> list[str]:
    options = ["--text-column", "review", "--encoding", "cp1252", "--model", str(MODEL)]
    return ["--file", str(table), *options, *arguments]


def test_a_table_is_answered_like_its_texts(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.parquet"
    assert predict.main(typed(table, "--output", str(output))) == 0
    assert capsys.readouterr() == ("", f"{output}: 3 rows are classified.\n")
    rows = pd.read_parquet(output).to_dict("records")
    assert [row["id"] for row in rows] == ["007", "008", "009"]
    assert list(rows[0]) == ["id", "review", "label", "score", "scores"]
    assert predict.main(typed(table, "--scores")) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row, answer in zip(rows, answers, strict=True):
        assert row["review"] == answer["text"]
        assert {key: row[key] for key in ("label", "score", "scores")} == {
            key: answer[key] for key in ("label", "score", "scores")
        }


def test_every_class_s_score_can_be_left_out(table: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    assert predict.main(typed(table, "--output", str(output), "--no-scores")) == 0
    assert pq.read_schema(output).names == ["id", "review", "label", "score"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--text-column", "body"], "--text-column body is not in {table}; its columns are: id, "),
        (["--text-pair-column", "id"], "the model takes single texts; leave --text-pair-column id"),
        (["--encoding", "utf8"], "line 4, is not utf8: byte 0xe4 at position 6; set"),
        (["--encoding", "ansi"], "--encoding=ansi is no encoding of text; accepted are utf-8"),
        (["--file", "nowhere.csv"], "--file=nowhere.csv does not exist."),
        (["--file", "-"], "--text-column is for a table: --file with .parquet, .csv,"),
        (["--format", "table"], "--format table is for answers that are printed; --output "),
        (["rain"], "give texts or --file {table}, not both."),
    ],
)
def test_what_was_typed_is_named_where_it_does_not_fit(
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    output = tmp_path / "out.parquet"
    assert predict.main(typed(table, "--output", str(output), *arguments)) == 2
    assert line.format(table=table) in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]


@pytest.fixture
def model_of_pairs(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "text_pair": True}))
    return model


def test_a_model_of_pairs_asks_for_both_columns(
    model_of_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "in.jsonl"
    table.write_text('{"question": "snow?", "text": "i\\tce"}\n')
    arguments = ["--file", str(table), "--model", str(model_of_pairs)]
    assert predict.main(arguments) == 2
    assert "the model takes pairs of texts; " in capsys.readouterr().err
    pairs = ["--text-column", "question", "--text-pair-column", "text"]
    assert predict.main([*arguments, *pairs]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "snow?\ti ce"


def test_lines_of_pairs_are_no_table_and_the_error_says_how_they_are_given(
    model_of_pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = tmp_path / "pairs.tsv"
    lines.write_text("snow?\tice\nsun?\tfire\n")
    model = ["--model", str(model_of_pairs)]
    assert predict.main([*model, "--file", str(lines)]) == 2
    error = capsys.readouterr().err
    assert f"{lines} is read as a table" in error
    assert "by standard input (< FILE)" in error
    with lines.open() as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        assert predict.main(model) == 0
    assert predict.main([*model, "--file", str(lines.rename(tmp_path / "pairs.txt"))]) == 0
    texts = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert texts == ["snow?\tice", "sun?\tfire"] * 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("answers", ["jsonl", "table"])
def test_a_full_standard_output_is_one_line(answers: str) -> None:
    command = ["-m", "pipeline.predict", "rain", "--model", str(MODEL), "--format", answers]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
    assert done.returncode == 2
    assert done.stderr == "error: standard output cannot be written: No space left on device.\n"
