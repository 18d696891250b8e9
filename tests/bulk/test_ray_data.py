"""Ray Data on this machine; skipped where the extra `ray` is not installed, as in CI."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import predict
from pipeline.bulk import ray_data
from pipeline.bulk.answers import columns_beside
from pipeline.bulk.questions import Questions
from pipeline.data.rows import Columns
from pipeline.data.tables import open_table
from pipeline.errors import PipelineError

MODEL = Path(__file__).parents[1] / "inference/model_of_0_1_0/artifacts/onnx_int8"
ROWS = 30_000


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command with relative paths, and a table of texts of one word, which have one answer."""
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    words = ["snow", "ice", "sun", "fire", "rain", "river"]
    texts = [words[row % len(words)] for row in range(ROWS)]
    pq.write_table(pa.table({"id": range(ROWS), "text": texts}), "in.parquet")
    return ["--file", "in.parquet", "--model", str(MODEL), "--threads", "2"]


def test_ray_gives_the_same_output_as_one_process(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.bulk.classify.PART_ROWS", 7000)
    assert predict.main([*arguments, "--output", "here.parquet"]) == 0
    assert predict.main([*arguments, "--output", "ray.parquet", "--engine", "ray"]) == 0
    assert pq.read_table("ray.parquet").equals(pq.read_table("here.parquet"))


def test_what_a_worker_raises_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    table = open_table(["in.parquet"], None, Columns("text", None, None))
    questions = Questions(replace(table, files=("gone.parquet",)))
    engine = partial(ray_data.answered_by_ray, MODEL, 1)
    with pytest.raises(PipelineError) as caught:
        list(engine(questions, columns_beside([], scores=True)))
    line = f"Ray has stopped: {tmp_path}/gone.parquet cannot be read: No such file or directory."
    assert str(caught.value) == line


def test_ray_is_asked_for_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "in.parquet")
    arguments = ["--file", str(tmp_path / "in.parquet"), "--model", str(MODEL), "--engine", "ray"]
    assert predict.main([*arguments, "--output", str(tmp_path / "out.parquet")]) == 2
    assert "--engine ray needs Ray, which is not installed" in capsys.readouterr().err
    assert predict.main(arguments) == 2
    assert "--engine ray writes a file: give --output" in capsys.readouterr().err
