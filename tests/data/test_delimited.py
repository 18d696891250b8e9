import csv
import io
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest

from pipeline.data import delimited
from pipeline.data.rows import Columns
from pipeline.data.sources import read_rows
from pipeline.errors import PipelineError
from tests.data.tables import read, written

ROWS = [("a, b", "x"), ('say "hi"', "y"), ("two\nlines", "x"), ('"all of it"', "y"), ("a\tb", "x")]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_what_a_program_writes_is_read_as_it_was(
    tmp_path: Path, separator: str, quoting: int, suffix: str
) -> None:
    content = io.StringIO()
    csv.writer(content, delimiter=separator, quoting=quoting).writerows([("text", "label"), *ROWS])
    assert read(written(tmp_path / f"rows{suffix}", content.getvalue())) == ROWS


def test_quotes_of_a_tsv_that_no_program_wrote_are_part_of_the_texts(tmp_path: Path) -> None:
    rows = [('"a begin', "0"), ("b", "1"), ('an end"', "0"), ('"whole"', "1"), ('"', "0")]
    content = "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)
    assert read(written(tmp_path / "glue.tsv", content)) == rows


def test_quotes_of_a_tsv_that_pandas_wrote_are_not(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ['"said" she', "b"], "label": ["x", "y"]})
    frame.to_csv(tmp_path / "rows.tsv", sep="\t", index=False)
    assert read(tmp_path / "rows.tsv") == [('"said" she', "x"), ("b", "y")]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_any_line_ending_and_blank_lines_do(tmp_path: Path, ending: str) -> None:
    lines = ["", "text,label", "", "a,x", "  ", "b,y", "", ""]
    assert read(written(tmp_path / "rows.csv", ending.join(lines))) == [("a", "x"), ("b", "y")]


def test_excels_line_with_the_separator_is_followed(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv", "sep=;\r\ntext;label\r\na, b;x\r\n")
    assert read(file) == [("a, b", "x")]


def test_columns_may_have_white_space_around_their_names(tmp_path: Path) -> None:
    assert read(written(tmp_path / "rows.csv", "text, label\na, x\n")) == [("a", "x")]


def test_a_nul_byte_cuts_no_text(tmp_path: Path) -> None:
    long = "text,label\n" + "x" * 100 + ",y\n"
    assert read(written(tmp_path / "rows.csv", long + "a\0b,y\n"))[1] == ("a\0b", "y")


def test_a_text_may_be_longer_than_the_readers_usual_limit(tmp_path: Path) -> None:
    text = "long " * 100_000
    assert read(written(tmp_path / "rows.csv", f"text,label\n{text},y\n")) == [(text, "y")]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            "text,label\na,x\nwell, the day was full,cold\n",
            "line 3 has 3 fields where the header has 2; a text with a comma in it must stand in",
        ),
        ("text,label\na,x,\nb,y,\n", "line 2 has 3 fields where the header has 2"),
        ("text,label\na,x\nb\n", "line 3 has 1 fields where the header has 2; every row needs all"),
        ('text,label\n"a,x\nb,y\n', "line 2: a quote that opens there is never closed"),
        ('text,label\n\n"a" b,x\n', 'line 3: .*must be doubled (""), or write the file as JSON'),
        ('text,label\na,x\n"b,y\nc,x\nd",y\n', "line 3: a quote that opens there closes 2 lines"),
        ("text,text,label\na,b,x\n", "has 2 columns named 'text'"),
        ("text,lable\na,x\n", "dataset.label_column='label' is not in .*: text, lable"),
        ("\n\n", "rows.csv is empty; it needs a header"),
        ("", "rows.csv is empty; it needs a header"),
        ("sep=;\n", "rows.csv is empty; it needs a header"),
    ],
)
def test_what_cannot_be_read_right_is_refused_by_its_line(
    tmp_path: Path, content: str, line: str
) -> None:
    pattern = line.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(PipelineError, match=pattern) as caught:
        read(written(tmp_path / "rows.csv", content))
    assert "\n" not in str(caught.value)


def test_a_text_of_several_lines_with_separators_is_a_text(tmp_path: Path) -> None:
    content = 'text,label\na,x\n"dear all,\nthe train, as ever,\nis late",x\n'
    assert read(written(tmp_path / "rows.csv", content))[1][0].count("\n") == 2


def test_a_separator_that_is_not_recognized_shows_in_the_columns(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="its columns are: text:label"):
        read(written(tmp_path / "rows.csv", "text:label\na:x\n"))


def test_a_swallowed_row_is_found_in_a_table_whose_labels_nobody_wants(tmp_path: Path) -> None:
    rows = 'text,label\n"sun fire,hot\nwe walked home,cold\nsnow ice",cold\nrain,hot\n'
    file = written(tmp_path / "more.csv", rows)
    with pytest.raises(PipelineError, match="line 2: a quote that opens there"):
        list(read_rows(str(file), None, Columns("text", None, None)).values)
    alone = written(tmp_path / "alone.csv", 'text\n"first line\nsecond line"\nrain\n')
    found = read_rows(str(alone), None, Columns("text", None, None)).values
    assert list(found) == [(2, ["first line\nsecond line"]), (4, ["rain"])]


def test_a_column_that_nobody_wants_does_not_fill_the_memory(tmp_path: Path) -> None:
    rows, characters = 20_000, 1_000
    lines = [f"{row:0{characters}},text {row}\n" for row in range(rows)]
    file = written(tmp_path / "rows.csv", f"body,text\n{''.join(lines)}")
    del lines
    values = read_rows(str(file), None, Columns("text", None, None)).values
    tracemalloc.start()
    try:
        assert sum(1 for _ in values) == rows
        assert tracemalloc.get_traced_memory()[1] < rows * characters / 2
    finally:
        tracemalloc.stop()


def test_a_label_column_is_watched_however_many_classes_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "MOST_GUESSED_LABELS", 2)
    content = 'text,label\na,1\nb,2\nc,3\n"d,1\ne,2\nf",3\n'
    with pytest.raises(PipelineError, match="line 5: a quote that opens there closes 2 lines"):
        read(written(tmp_path / "rows.csv", content))
