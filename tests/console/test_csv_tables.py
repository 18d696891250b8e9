import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.console.csv_tables import as_written, csv_text, write_csv

FORMULAS = ["=1+1", "+SUM(A1)", "-cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\uff1d1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_or_heading_begins_a_formula(text: str) -> None:
    frame = pd.DataFrame({"text": [text, "fine"], text: ["a", text]})
    rows = list(csv.reader(csv_text(frame).splitlines(keepends=True)))
    assert rows[0][1][0] == rows[1][0][0] == rows[2][1][0] == "'"
    rows = list(csv.reader(csv_text(frame.set_index(text), index=True).splitlines(keepends=True)))
    assert rows[0][0][0] == rows[2][0][0] == "'"


@pytest.mark.parametrize("text", ["-1", "+3.5", "-1e-05", "-.5", "007", "NA", "a=b", "'quoted'"])
def test_numbers_and_plain_texts_stay_as_they_are(text: str) -> None:
    assert csv_text(pd.DataFrame({"text": [text]})) == f"text\n{text}\n"


def test_columns_of_numbers_stay_as_they_are() -> None:
    frame = pd.DataFrame({"count": [-1, 2], "share": [-0.5, None], "right": [True, False]})
    assert csv_text(frame) == "count,share,right\n-1,-0.5,True\n2,,False\n"


@given(st.lists(st.text(alphabet="'=+-@\t\n\ra1.e", min_size=1), min_size=1))
def test_what_was_written_is_read_again(texts: list[str]) -> None:
    written = csv_text(pd.DataFrame({"text": texts}))
    _, *rows = csv.reader(written.splitlines(keepends=True))
    assert [as_written(cell) for (cell,) in rows] == texts


def test_different_texts_stay_different(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"text": ["=a", "'=a", "''=a"]}), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "text\n'=a\n''=a\n'''=a\n"
