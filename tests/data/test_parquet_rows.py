from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.parquet_rows import read_parquet
from pipeline.errors import PipelineError
from tests.data.tables import COLUMNS, read, written

TEXTS = ["a", "b", "c"]


def test_ids_of_a_class_label_are_read_as_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["7", "neg", "pos"])}
    )
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [2, 0, 1]}, features=features)
    rows.to_parquet(tmp_path / "rows.parquet")
    assert [label for _, label in read(tmp_path / "rows.parquet")] == ["pos", "7", "neg"]
    assert read_parquet(str(tmp_path / "rows.parquet"), COLUMNS).class_names == ("7", "neg", "pos")


@pytest.mark.parametrize(
    ("labels", "spelled"),
    [
        (pd.Series(["x", "y", "x"], dtype="category"), ["x", "y", "x"]),
        (pd.Series([True, False, True]), ["True", "False", "True"]),
        (pd.Series([1, 0, 1], dtype="int8"), ["1", "0", "1"]),
        (pd.Series([b"x", b"y", b"x"]), ["x", "y", "x"]),
        (pd.Series(["007", "7", "1e3"]), ["007", "7", "1e3"]),
    ],
)
def test_labels_of_every_type_are_spelled_out(
    tmp_path: Path, labels: pd.Series, spelled: list[str]
) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": labels})
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    assert read(tmp_path / "rows.parquet") == list(zip(TEXTS, spelled, strict=True))


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2), pa.string_view()]
)
def test_texts_are_read_from_every_type_that_holds_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array(["ab", "é", "cd"]).cast(pa.binary()).cast(kind)
    pq.write_table(pa.table({"text": texts, "label": list("xyx")}), tmp_path / "rows.parquet")
    assert [text for text, _ in read(tmp_path / "rows.parquet")] == ["ab", "é", "cd"]


def test_only_the_wanted_columns_are_read(tmp_path: Path) -> None:
    table = pa.table({"id": [[1], [2], [3]], "text": TEXTS, "label": ["x", "y", "x"]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=1)
    assert read(tmp_path / "rows.parquet") == [("a", "x"), ("b", "y"), ("c", "x")]


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"text": TEXTS * 1000, "label": ["x"] * 3000}).to_parquet(
        tmp_path / "rows.parquet"
    )
    content = (tmp_path / "rows.parquet").read_bytes()
    for cut in (content[:-100], content[: len(content) // 2], b"PAR1" + content[300:]):
        with pytest.raises(PipelineError, match="rows.parquet cannot be read"):
            read(written(tmp_path / "rows.parquet", cut))
