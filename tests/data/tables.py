"""Write tables in tests, and read them as a corpus would."""

from pathlib import Path

import pandas as pd

from pipeline.data.cleaning import Findings, good_rows
from pipeline.data.rows import Columns
from pipeline.data.sources import read_rows

COLUMNS = Columns("text", "label", None)
Pairs = list[tuple[str, str]]


def read(file: Path, encoding: str | None = None) -> Pairs:
    findings = Findings()
    pairs = list(good_rows([read_rows(str(file), encoding, COLUMNS)], findings))
    assert not findings.bad, findings.listed
    return pairs


def written(file: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    file.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return file


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table in the format that the file's name ends with."""
    if file.suffix in (".csv", ".tsv"):
        table.to_csv(file, sep="\t" if file.suffix == ".tsv" else ",", index=False)
    elif file.suffix == ".parquet":
        table.to_parquet(file)
    else:
        table.to_json(file, lines=True, orient="records")
