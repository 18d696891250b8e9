import csv
import json
from typing import Any

import pytest

from pipeline.serving.limits import RefusedError
from pipeline.serving.payload import read_texts

TEXTS = ["what a day", "so tired"]


def read(request: Any) -> list[str]:
    return read_texts(json.dumps(request).encode(), "application/json")


def refusal(body: bytes, content_type: str = "application/json") -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        read_texts(body, content_type)
    assert len(str(caught.value)) < 250, "a refusal is one short line"
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "request_",
    [
        {"inputs": TEXTS},
        {"inputs": TEXTS, "params": {"temperature": 1}},
        {"inputs": {"review": TEXTS}},
        {"instances": TEXTS},
        {"instances": [{"review": text} for text in TEXTS]},
        {"dataframe_records": [{"id": 7, "text": text} for text in TEXTS]},
        {"dataframe_split": {"columns": ["review"], "data": [[text] for text in TEXTS]}},
        {
            "dataframe_split": {
                "index": [0, 1],
                "columns": ["id", "text"],
                "data": [[7, text] for text in TEXTS],
            }
        },
    ],
    ids=json.dumps,
)
def test_every_format_of_mlflow_is_read(request_: dict[str, Any]) -> None:
    assert read(request_) == TEXTS


@pytest.mark.parametrize(
    "table",
    [
        "review\nwhat a day\nso tired\n",
        "\ufeffreview\r\n\r\nwhat a day\r\nso tired",
        'id,text\n1,"what a day"\n2,so tired\n',
    ],
)
def test_a_table_has_one_column_or_one_named_text(table: str) -> None:
    assert read_texts(table.encode(), "text/csv; charset=UTF-8") == TEXTS


def test_cells_are_taken_as_they_are() -> None:
    assert read_texts(b"text\nNA\n007\n1e3\nnull\n", "text/csv") == ["NA", "007", "1e3", "null"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"id,review\n1,what a day\n", "text/csv"),
        (b"text,text\na,b\n", "text/csv"),
        (b"Text,id\na,b\n", "text/csv"),
        (b'{"dataframe_records": [{"id": 1, "review": "a"}]}', "application/json"),
        (b'{"inputs": {"id": ["1"], "review": ["a"]}}', "application/json"),
        (
            b'{"dataframe_split": {"columns": ["id", "review"], "data": [["1", "a"]]}}',
            "application/json",
        ),
        (json.dumps({"inputs": {"n" * 10_000: [], "m" * 10_000: []}}).encode(), "application/json"),
    ],
)
def test_a_column_is_never_guessed(body: bytes, content_type: str) -> None:
    error = refusal(body, content_type)
    assert error.status == 400
    assert "one column, or one that is named text" in str(error)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "not JSON"),
        (b'{"inputs": ["rain"', "not JSON"),
        (b'{"inputs": ["\xff"]}', "not JSON"),
        (b'{"inputs": [' + b"9" * 5000 + b"]}", "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'["rain"]', "an object with one of inputs, instances"),
        (b'{"texts": ["rain"]}', "an object with one of inputs, instances"),
        (b'{"inputs": ["a"], "instances": ["b"]}', "an object with one of inputs"),
        (b'{"inputs": "rain"}', "inputs has to be a list"),
        (b'{"inputs": [1, 2]}', "text 1 is int, not text."),
        (b'{"inputs": ["a", 1e999]}', "text 2 is float, not text."),
        (b'{"inputs": [["a"]]}', "text 1 is list, not text."),
        (b'{"inputs": ["rain", ""]}', "text 2 is empty."),
        (b'{"inputs": ["\\ud800"]}', "text 1 is not UTF-8."),
        (b'{"inputs": ["rain", {"a": 1}]}', "rows have to be objects"),
        (b'{"inputs": {"a": "rain"}}', "a column has to be a list"),
        (b'{"dataframe_records": [{"text": "a"}, {"id": 1}]}', "text 2 is NoneType"),
        (b'{"dataframe_records": ["rain"]}', "rows have to be objects"),
        (b'{"dataframe_split": [["rain"]]}', "the lists columns and data"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [["b", "c"]]}}', "row 1 does not have 1"),
        (json.dumps({"inputs": ["a" * 1_000_000]}).encode(), "text 1 has 1,000,000 characters"),
        (json.dumps({"inputs": ["a"] * 10_001}).encode(), "10,001 texts in one request; at most"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_holds_no_texts_is_refused_in_one_short_line(body: bytes, line: str) -> None:
    error = refusal(body)
    assert error.status == 400
    assert line in str(error)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (b"", "the columns are: none"),
        (b'text\n"rain\n', "not CSV"),
        (b"text\n\xff\n", "not CSV in UTF-8"),
        (b"text\nrain, and snow\n", "line 2 has 2 fields; the header has 1."),
        (b"text\n" + b"a\n" * 10_001, "the table has more than 10,000 rows."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_damaged_table_is_refused(table: bytes, line: str) -> None:
    error = refusal(table, "text/csv")
    assert error.status == 400
    assert line in str(error)


@pytest.mark.parametrize("limit", [131_072, 10**9])
def test_a_field_that_is_too_long_is_refused(limit: int) -> None:
    before = csv.field_size_limit(limit)  # of the whole process, and anybody may set it
    try:
        error = refusal(b"text\n" + b"a" * 200_000 + b"\n", "text/csv")
    finally:
        csv.field_size_limit(before)
    assert "larger than field limit" in str(error) or "has 200,000 characters" in str(error)


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/json; charset=latin-1", "x" * 10_000]
)
def test_another_media_type_is_refused(content_type: str) -> None:
    error = refusal(b'{"inputs": ["rain"]}', content_type)
    assert error.status == 415
    assert "application/json and text/csv are accepted, in UTF-8." in str(error)
