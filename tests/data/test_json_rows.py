import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import PipelineError
from tests.data.tables import read, written

ROWS = [("NA", "x"), ("two\nlines", "y"), ("ünï", "x")]
FRAME = pd.DataFrame(ROWS, columns=["text", "label"])


@pytest.mark.parametrize(
    "content",
    [
        FRAME.to_json(orient="records", lines=True),
        FRAME.to_json(orient="records"),
        FRAME.to_json(orient="columns"),
        FRAME.to_json(orient="table"),
        json.dumps(FRAME.to_dict("list")),
        json.dumps(FRAME.to_dict("list"), indent=1),
        json.dumps(FRAME.to_dict("records"), indent=2, ensure_ascii=False),
        "\ufeff\n" + FRAME.to_json(orient="records", lines=True, force_ascii=False),
    ],
    ids=["lines", "array", "columns", "table", "lists", "indented", "pretty", "marked"],
)
@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".ndjson"])
def test_every_shape_is_read_as_it_was_written(tmp_path: Path, content: str, suffix: str) -> None:
    assert read(written(tmp_path / f"rows{suffix}", content)) == ROWS


def test_labels_that_are_no_text_are_spelled_as_in_other_formats(tmp_path: Path) -> None:
    content = '{"text":"a","label":true}\n{"text":"b","label":7}\n{"text":"c","label":0.5}\n'
    labels = [label for _, label in read(written(tmp_path / "rows.jsonl", content))]
    assert labels == ["True", "7", "0.5"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"text":"a","label":1}\n{"text":"b"', "line 2 is broken JSON: .* at position 12"),
        ('{"text":"a","label":1}\n[1]\n', "line 2 is not an object; accepted: an object a line"),
        ('[{"text":"a","label":1}, 5]', "row 2 is not an object"),
        ('[["a", 1]]\n[["b", 2]]', "is broken JSON: Extra data"),
        ('{"text":["a","b"],"label":[1]}', "columns differ in length: text 2, label 1"),
        ('{"text":{"0":"a"},"label":{"1":1}}', "columns 'text' and 'label' differ in rows"),
        ('{"text":"a","lable":1}\n{"text":"b"}', "'label' is not in .*: text, lable"),
        ('"text"', "is str; accepted"),
        ("[" * 100_000, "cannot be read"),
        ("", "is empty; it needs at least one row"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_place(
    tmp_path: Path, content: str, line: str
) -> None:
    with pytest.raises(PipelineError, match=line) as caught:
        read(written(tmp_path / "rows.json", content))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
