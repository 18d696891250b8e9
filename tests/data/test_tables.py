import datetime
import gzip
import json
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data import tables
from pipeline.data.json_rows import read_objects
from pipeline.data.rows import Columns
from pipeline.data.tables import open_table
from pipeline.errors import PipelineError
from tests.data.tables import written

COLUMNS = Columns("text", None, None)


def read(*files: Path, columns: Columns = COLUMNS) -> pa.Table:
    table = open_table([str(file) for file in files], None, columns)
    return pa.Table.from_batches(table.batches(), table.schema)


def test_a_csv_keeps_every_column_in_its_order_and_as_it_is_written(tmp_path: Path) -> None:
    content = 'id;text;note\n007;"a;\nb";\n1e3;c;x\n'
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(content.encode()))
    assert read(tmp_path / "rows.csv.gz").to_pydict() == {
        "id": ["007", "1e3"],
        "text": ["a;\nb", "c"],
        "note": ["", "x"],
    }


def test_a_parquet_file_keeps_types_and_what_pandas_knows_of_it(tmp_path: Path) -> None:
    when = [datetime.datetime(2024, 1, 2, 3, 4, 5, 678901), None]
    frame = pa.table(
        {
            "text": pa.array(["a", "b"]).dictionary_encode(),
            "when": pa.array(when, pa.timestamp("ns")),
            "parts": pa.array([[1], []], pa.list_(pa.int8())),
        }
    )
    frame = frame.replace_schema_metadata({b"pandas": b"{}"})
    pq.write_table(frame, tmp_path / "rows.parquet", row_group_size=1)
    table = read(tmp_path / "rows.parquet")
    assert table.equals(frame)
    assert table.schema.metadata == {b"pandas": b"{}"}


def test_the_features_of_the_datasets_library_do_not_outlive_their_columns(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
    rows.to_parquet(tmp_path / "rows.parquet")
    table = read(tmp_path / "rows.parquet").append_column("score", pa.array([0.5]))
    pq.write_table(table, tmp_path / "more.parquet")
    assert datasets.Dataset.from_parquet(
        str(tmp_path / "more.parquet"), cache_dir=str(tmp_path)
    ).column_names == ["text", "label", "score"]


@pytest.mark.parametrize("shape", ["lines", "array", "columns"])
def test_json_keeps_what_each_row_has_in_any_shape(tmp_path: Path, shape: str) -> None:
    rows = [
        {"id": 1, "text": "a", "meta": {"by": "x"}, "mixed": 7, "empty": {}},
        {"id": 2.5, "text": "b", "meta": {"at": 3}, "mixed": "7", "empty": {}},
        {"id": None, "text": "c", "meta": None, "mixed": [1], "empty": None},
    ]
    if shape == "lines":
        content = "\n".join(map(json.dumps, [*rows, {"text": "d"}]))
    elif shape == "array":
        content = json.dumps([*rows, {"text": "d"}], indent=1)
    else:
        content = pd.DataFrame([*rows, {"text": "d"}]).to_json()
    table = read(written(tmp_path / "rows.json", content)).to_pydict()
    assert table == {
        "id": [1.0, 2.5, None, None],
        "text": ["a", "b", "c", "d"],
        "meta": [{"by": "x", "at": None}, {"by": None, "at": 3}, None, None],
        "mixed": ["7", "7", "[1]", None],
        "empty": ["{}", "{}", None, None],
    }


def test_a_type_that_shows_late_is_that_of_all_rows(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "a", "id": 1})] * 10_001 + [json.dumps({"text": "b", "id": "x"})]
    table = read(written(tmp_path / "rows.jsonl", "\n".join(lines)))
    assert table["id"].to_pylist() == ["1"] * 10_001 + ["x"]


def test_files_of_one_table_may_have_columns_of_their_own(tmp_path: Path) -> None:
    files = [
        written(tmp_path / "1.csv", "text,a\nx,1\n"),
        written(tmp_path / "2.csv", "b,text\n2,y\n"),
    ]
    assert read(*files).to_pydict() == {"text": ["x", "y"], "a": ["1", None], "b": [None, "2"]}
    pq.write_table(pa.table({"text": ["z"], "a": [1]}), tmp_path / "3.parquet")
    with pytest.raises(PipelineError, match=r"3.parquet does not fit to the other files: .*a"):
        read(*files, tmp_path / "3.parquet")


def test_categories_of_several_files_are_more_than_each_has_room_for(tmp_path: Path) -> None:
    files = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    for start, file in zip((0, 100), files, strict=True):
        names = [f"category {number}" for number in range(start, start + 100)]
        pd.DataFrame({"text": names, "kind": pd.Categorical(names)}).to_parquet(file)
    assert pq.read_schema(files[0]).field("kind").type.index_type == pa.int8()
    table = read(*files).combine_chunks()
    pq.write_table(table, tmp_path / "both.parquet")
    back = pq.ParquetFile(tmp_path / "both.parquet").read()
    assert back["kind"].to_pylist() == back["text"].to_pylist()
    assert len(set(back["kind"].to_pylist())) == 200


def test_what_one_file_lacks_is_null_though_another_has_it_in_every_row(tmp_path: Path) -> None:
    always = pa.schema([pa.field("text", pa.string()), pa.field("x", pa.int64(), nullable=False)])
    pq.write_table(pa.table({"text": ["a"], "x": [1]}, always), tmp_path / "1.parquet")
    pq.write_table(pa.table({"text": ["b"]}), tmp_path / "2.parquet")
    table = read(tmp_path / "1.parquet", tmp_path / "2.parquet")
    pq.write_table(table, tmp_path / "both.parquet")
    assert table["x"].to_pylist() == [1, None]
    assert not read(tmp_path / "1.parquet").schema.field("x").nullable


LARGE = 2**60 + 1  # no double is


@pytest.mark.parametrize("ids", [[1.5] * 10_001 + [LARGE], [LARGE] * 10_001 + [1.5]])
def test_an_id_of_json_that_no_decimal_is_becomes_text(tmp_path: Path, ids: list[float]) -> None:
    lines = [json.dumps({"text": "a", "id": each}) for each in ids]
    table = read(written(tmp_path / "rows.jsonl", "\n".join(lines)))
    assert table["id"].to_pylist() == [str(each) for each in ids]


def test_json_is_read_again_only_where_numbers_were_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def counted(*arguments: object) -> object:
        reads.append(1)
        return read_objects(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "read_objects", counted)
    for late, expected in ((7, 1), ("x", 1), (1.5, 2)):
        first = {"text": "a", "id": None if late == 7 else 1}
        rows = [first] * 10_001 + [{"text": "b", "id": late}]
        file = written(tmp_path / "rows.jsonl", "\n".join(map(json.dumps, rows)))
        reads.clear()
        open_table([str(file)], None, COLUMNS)
        assert len(reads) == expected, late


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array([LARGE]), pa.array([1.5])),
        (pa.array([1.5]), pa.array([LARGE])),
        (pa.array([2**63 + 1], pa.uint64()), pa.array([-1], pa.int64())),
    ],
)
def test_a_number_that_another_files_type_cannot_hold_is_found_before_the_work(
    tmp_path: Path, first: pa.Array, second: pa.Array
) -> None:
    files = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    for ids, file in zip((first, second), files, strict=True):
        pq.write_table(pa.table({"text": ["a"], "id": ids}), file)
    with pytest.raises(PipelineError, match=r"\d.parquet does not fit to the other files: .*"):
        open_table([str(file) for file in files], None, COLUMNS)


def test_numbers_that_both_types_hold_are_joined(tmp_path: Path) -> None:
    files = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    pq.write_table(pa.table({"text": ["a"], "id": [7]}), files[0])
    pq.write_table(pa.table({"text": ["b"], "id": [2.5]}), files[1])
    assert read(*files)["id"].to_pylist() == [7.0, 2.5]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("body\na\n", r"dataset.text_column='text' is not in .*rows.csv; its columns are: body."),
        ("text,a,a\nx,1,2\n", "rows.csv has 2 columns named 'a'."),
        ("text,a\nx\n", "rows.csv, line 2 has 1 fields where the header has 2"),
    ],
)
def test_a_table_that_cannot_be_kept_is_named(tmp_path: Path, content: str, line: str) -> None:
    with pytest.raises(PipelineError, match=line):
        read(written(tmp_path / "rows.csv", content))
