"""A table in parts: whole or not there, whatever happens; an engine stands in for models."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from pipeline.bulk import classify
from pipeline.bulk.answers import AnswerColumns, texts_of, with_answers
from pipeline.bulk.classify import classify_table
from pipeline.bulk.job import Job, output_file
from pipeline.bulk.parts import Parts
from pipeline.bulk.questions import Questions
from pipeline.data.rows import Columns
from pipeline.errors import PipelineError

ROOT = Path(__file__).parents[2]
LABELS = ("short", "long")
ROWS = 450
PART = 100


def by_length(questions: Questions, columns: AnswerColumns) -> Iterator[pa.RecordBatch]:
    """Be an engine: the score of a text is the hundredth part of its length."""
    for batch in questions.batches():
        for start in range(0, batch.num_rows, 64):
            rows = batch.slice(start, 64)
            scores = np.array([len(text) for text in texts_of(rows, questions.table.columns)]) / 100
            both = np.stack([1 - scores, scores], axis=1).astype(np.float32)
            yield with_answers(rows, both, columns, LABELS)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A table of 450 rows, in parts of 100."""
    return small_job(tmp_path, monkeypatch.setattr)


def small_job(folder: Path, set_attribute: Callable[..., None]) -> Job:
    set_attribute(classify, "PART_ROWS", PART)
    texts = ["a" * (1 + row % 99) for row in range(ROWS)]
    table = folder / "in.parquet"
    if not table.exists():
        (folder / "model").mkdir()
        (folder / "model/model.onnx").write_bytes(b"weights")
        pq.write_table(pa.table({"id": range(ROWS), "text": texts}), table)
    return Job(
        files=(str(table),),
        encoding=None,
        columns=Columns("text", None, None),
        model=folder / "model",
        label_names=LABELS,
        output=folder / "out.parquet",
        scores=True,
    )


def check(output: Path) -> None:
    """The output is whole, in order, and nothing else is left."""
    table = pq.read_table(output)
    assert table.column_names == ["id", "text", "label", "score", "scores"]
    assert table["id"].to_pylist() == list(range(ROWS))
    for row in table.to_pylist():
        long = round(len(row["text"]) / 100, 6)
        assert row["scores"] == {"short": pytest.approx(1 - long), "long": pytest.approx(long)}
        assert row["label"] == ("long" if long > 0.5 else "short")
    assert sorted(file.name for file in output.parent.iterdir()) == [
        "in.parquet",
        "model",
        "out.parquet",
    ]


def interrupt_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = Parts.write, []

    def interrupted(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Parts, "write", interrupted)


def test_a_table_keeps_its_columns_and_gets_label_score_and_scores(job: Job) -> None:
    classify_table(job, by_length)
    check(job.output)


def test_what_was_interrupted_goes_on_with_the_rows_that_are_missing(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        interrupt_at(3, patched)
        with pytest.raises(KeyboardInterrupt, match="200 of 450 rows are kept: the same command"):
            classify_table(job, by_length)
    assert not job.output.exists()
    asked = []

    def engine(questions: Questions, columns: AnswerColumns) -> Iterator[pa.RecordBatch]:
        for batch in by_length(questions, columns):
            asked.extend(batch["id"].to_pylist())
            yield batch

    classify_table(job, engine)
    assert asked == list(range(200, ROWS))
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "going on: 200 of 450 rows are there.",
        f"{job.output}: 450 rows are classified.",
    ]
    check(job.output)


def test_a_killed_process_leaves_nothing_that_looks_whole(tmp_path: Path, job: Job) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        import pyarrow.parquet as pq
        from tests.bulk import test_classify

        write, calls = pq.write_table, []

        def killed(table, file):
            write(table, file)
            calls.append(1)
            if len(calls) == 3:
                Path(file).write_bytes(Path(file).read_bytes()[:50])
                os.kill(os.getpid(), signal.SIGKILL)

        job = test_classify.small_job(Path(sys.argv[1]), setattr)
        pq.write_table = killed
        test_classify.classify_table(job, test_classify.by_length)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not job.output.exists()
    names = {file.name for file in (tmp_path / "out.parquet.parts").iterdir()}
    assert {"part-000000.parquet", "part-000001.parquet"} <= names
    assert "part-000002.parquet" not in names
    classify_table(job, by_length)
    check(job.output)


@pytest.mark.parametrize("what", ["input", "model", "columns"])
def test_parts_of_another_origin_are_made_anew_in_a_line(
    job: Job, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        interrupt_at(3, patched)
        with pytest.raises(KeyboardInterrupt):
            classify_table(replace(job, scores=what != "columns"), by_length)
    if what == "input":
        os.utime(job.files[0])
    elif what == "model":
        (job.model / "model.onnx").write_bytes(b"other weights")
    classify_table(job, by_length)
    assert f"another {what} than in {job.output}.parts: starting anew." in capsys.readouterr().err
    check(job.output)


def test_a_start_after_the_end_does_nothing_and_one_of_another_model_replaces(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    classify_table(job, by_length)
    before = job.output.stat().st_mtime_ns
    Path(f"{job.output}.parts").mkdir()  # as a kill right after the last rename leaves it
    classify_table(job, by_length)
    assert job.output.stat().st_mtime_ns == before
    assert "is whole already, of the same input, model and columns" in capsys.readouterr().err
    check(job.output)
    (job.model / "model.onnx").write_bytes(b"other weights")
    classify_table(job, by_length)
    assert "is of another input, model or columns, and will be replaced" in capsys.readouterr().err
    assert job.output.stat().st_mtime_ns > before
    check(job.output)


def test_a_second_process_at_once_is_refused(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "out.parquet.parts"
    folder.mkdir()
    with (
        FileLock(folder / "lock"),
        pytest.raises(PipelineError, match="another process is writing .*out.parquet"),
    ):
        classify_table(job, by_length)


def test_a_folder_of_somebody_else_is_left_alone(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "out.parquet.parts"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(PipelineError, match="parts holds thesis.txt, which predict has not"):
        classify_table(job, by_length)
    assert [file.name for file in folder.iterdir()] == ["thesis.txt"]


def test_a_file_of_somebody_else_is_not_replaced(job: Job) -> None:
    pq.write_table(pa.table({"mine": [1]}), job.output)
    with pytest.raises(PipelineError, match="is there already, and was not written by predict"):
        classify_table(job, by_length)
    assert pq.read_table(job.output).column_names == ["mine"]


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("", pa.string(), "row 450, column text, is empty"),
        (None, pa.string(), "row 450, column text, has"),
        (b"caf\xe9", pa.binary(), "row 450, column text, is not UTF-8"),
    ],
)
def test_a_row_without_a_text_is_named_before_anything_is_classified(
    job: Job, text: str | bytes | None, kind: pa.DataType, line: str
) -> None:
    texts = pa.array(["a"] * (ROWS - 1) + [text], kind)
    pq.write_table(pa.table({"text": texts}), job.files[0])

    def engine(*_: object) -> Iterator[pa.RecordBatch]:
        raise AssertionError("classified")

    with pytest.raises(PipelineError, match=f"in.parquet, {line}"):
        classify_table(job, engine)
    assert {file.name for file in job.output.parent.iterdir()} == {"in.parquet", "model"}


def test_an_input_that_changes_meanwhile_gives_no_output(job: Job) -> None:
    def engine(questions: Questions, columns: AnswerColumns) -> Iterator[pa.RecordBatch]:
        yield from by_length(questions, columns)
        os.utime(job.files[0])

    with pytest.raises(PipelineError, match="has changed meanwhile; start again"):
        classify_table(job, engine)
    assert not job.output.exists()


def test_a_damaged_part_is_named(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        interrupt_at(3, patched)
        with pytest.raises(KeyboardInterrupt):
            classify_table(job, by_length)
    part = Path(f"{job.output}.parts/part-000001.parquet")
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(PipelineError, match="part-000001.parquet is damaged; remove it"):
        classify_table(job, by_length)
    part.unlink()
    classify_table(job, by_length)
    check(job.output)


def test_a_table_without_rows_gives_one_without_rows(job: Job) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), job.files[0])
    classify_table(job, by_length)
    table = pq.read_table(job.output)
    assert (table.num_rows, table.column_names) == (0, ["text", "label", "score", "scores"])


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("out.csv", "--output out.csv must be a file of this machine named *.parquet."),
        ("s3://b/out.parquet", "must be a file of this machine"),
        ("nowhere/out.parquet", "--output nowhere/out.parquet: there is no directory nowhere."),
        ("folder.parquet", "--output folder.parquet is a directory; name a file in it."),
        ("./in.parquet", "--output ./in.parquet is the file that is read; choose another."),
    ],
)
def test_an_output_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(PipelineError) as caught:
        output_file(typed, ("in.parquet",))
    assert line in str(caught.value)


def test_a_file_that_comes_meanwhile_is_left_alone(job: Job) -> None:
    def engine(questions: Questions, columns: AnswerColumns) -> Iterator[pa.RecordBatch]:
        yield from by_length(questions, columns)
        job.output.write_text("somebody else's")

    with pytest.raises(PipelineError, match="is there already, and was not written by predict"):
        classify_table(job, engine)
    assert job.output.read_text() == "somebody else's"
    job.output.unlink()
    classify_table(job, by_length)
    check(job.output)


def test_the_file_that_a_link_points_to_is_written(job: Job, tmp_path: Path) -> None:
    link = tmp_path / "links" / "link.parquet"
    link.parent.mkdir()
    link.symlink_to(job.output)
    classify_table(replace(job, output=output_file(str(link), job.files)), by_length)
    assert link.is_symlink()
    link.unlink()
    link.parent.rmdir()
    check(job.output)
