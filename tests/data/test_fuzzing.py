"""Write tables as programs do, then break them: rows come back whole, or one line says why not."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.schema import DatasetConfig
from pipeline.data.corpus import load_corpus
from pipeline.errors import PipelineError
from tests.data.tables import Pairs, read

EXAMPLES = 1000
SETTINGS = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
# What separators, quotes and line ends are made of comes often.
SYMBOLS = st.sampled_from(list(",;\t|\"'\\ \n\r\0\u2028\u0085\ufeffé😀#{[0N"))
TEXTS = st.text(st.one_of(SYMBOLS, st.characters(exclude_categories=["Cs"])), max_size=12).filter(
    # Python 3.11's csv does not quote a carriage return: at the start, it makes a blank line.
    lambda text: bool(text.strip()) and text[0] not in "\ufeff\r"
)
LABELS = st.sampled_from(["x", "y", "007", "7", "1e3", "NA", "a b", "é", '"'])
TABLES = st.lists(st.tuples(TEXTS, LABELS), min_size=1, max_size=8)
FORMS = st.sampled_from(
    [
        "csv",
        "csv;",
        "csv\t",
        "csv all",
        "crlf",
        "tsv",
        "raw",
        "lines",
        "array",
        "columns",
        "parquet",
    ]
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])


def check_line(error: PipelineError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 2000


def table_file(folder: Path, rows: Pairs, form: str, encoding: str) -> Path:
    frame = pd.DataFrame(rows, columns=["text", "label"])
    if form == "parquet":
        frame.to_parquet(folder / "rows.parquet")
        return folder / "rows.parquet"
    if form in ("lines", "array", "columns"):
        content = {
            "lines": "\n".join(
                json.dumps(row, ensure_ascii=False) for row in frame.to_dict("records")
            ),
            "array": json.dumps(frame.to_dict("records")),
            "columns": json.dumps(frame.to_dict("list"), indent=1),
        }[form]
        file = folder / "rows.json"
    elif form == "raw":
        content = "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)
        file = folder / "rows.tsv"
    else:
        options: dict[str, Any] = {
            "csv;": {"delimiter": ";"},
            "csv\t": {"delimiter": "\t"},
            "csv all": {"quoting": csv.QUOTE_ALL},
            "tsv": {"delimiter": "\t"},
        }.get(form, {})
        buffer = io.StringIO()
        end = "\r\n" if form == "crlf" else "\n"
        csv.writer(buffer, lineterminator=end, **options).writerows([("text", "label"), *rows])
        content, file = buffer.getvalue(), folder / f"rows.{'tsv' if form == 'tsv' else 'csv'}"
    file.write_bytes(content.encode(encoding))
    return file


@given(TABLES, FORMS, ENCODINGS)
@settings(max_examples=EXAMPLES, **SETTINGS)  # type: ignore[arg-type]
def test_what_was_written_is_read_or_refused(
    tmp_path: Path, rows: Pairs, form: str, encoding: str
) -> None:
    if form == "raw":  # which has no way to write these
        rows = [(re.sub(r"[\t\n\r]", " ", text), label) for text, label in rows]
    file = table_file(tmp_path, rows, form, encoding)
    try:
        found = read(file)
    except PipelineError as error:
        check_line(error)
        # Only text files can be ambiguous: a quote in an unquoted file, a line's end in a text.
        found = [] if form in ("lines", "array", "columns", "parquet", "csv all") else rows
    assert found == rows


@given(
    TABLES,
    FORMS,
    ENCODINGS,
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3), st.integers(0, 3)), max_size=3),
)
@settings(max_examples=EXAMPLES, **SETTINGS)  # type: ignore[arg-type]
def test_a_broken_table_is_read_or_refused_in_one_line(
    tmp_path: Path, rows: Pairs, form: str, encoding: str, mutations: list[tuple[float, bytes, int]]
) -> None:
    file = table_file(tmp_path, rows, form, encoding)
    content = file.read_bytes()
    for place, inserted, removed in mutations:
        at = int(place * len(content))
        content = content[:at] + inserted + content[at + removed :]
    file.write_bytes(content)
    config = DatasetConfig(
        name="mine", train_file=str(file), validation_file=str(file), test_file=str(file)
    )
    try:
        corpus = load_corpus(config)
    except PipelineError as error:
        check_line(error)
    else:
        assert all(0 <= label < len(corpus.label_names) for label in corpus.splits["test"]["label"])
