"""Read texts from lines, and write answers as lines, one at a time and without end."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.console.markdown import printable
from pipeline.errors import PipelineError
from pipeline.inference.classifier import DECIMALS
from pipeline.inference.texts import MAX_TEXT_CHARACTERS, check_text

STANDARD_INPUT = "-"
# UTF-8 takes at most 4 bytes for a character; the line's end takes 2.
MAX_LINE_BYTES = 4 * MAX_TEXT_CHARACTERS + 2
SMALLEST_TEXT_COLUMN = 20  # characters
# What steers a terminal, and json writes as it is; it writes \u001b for an escape.
CONTROLS = re.compile("[\x7f-\x9f]")

Answer = tuple[str, np.ndarray]
"""A text with its probabilities (num_labels,)."""

Write = Callable[[Answer], str]
"""Writes an answer as a line."""


def lines_of_text(name: str) -> Iterator[str]:
    """Read texts, one from each line.

    Args:
        name: file in UTF-8; STANDARD_INPUT is what is piped.

    Raises:
        PipelineError: there is no such file, nothing is piped, or a line is no text.
    """
    if name == STANDARD_INPUT:
        if sys.stdin.isatty():
            raise PipelineError(
                "no text given; type texts as arguments, name a --file, or pipe one text a line."
            )
        yield from _decoded(sys.stdin.buffer, "standard input")
    else:
        try:
            file = Path(name).open("rb")  # noqa: SIM115
        except OSError as error:
            raise PipelineError(f"--file {name} cannot be read: {error.strerror}.") from error
        with file:
            yield from _decoded(file, name)


def _decoded(file: BinaryIO, name: str) -> Iterator[str]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        where = f"{name}, line {number},"
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):  # the rest of it is not read
            raise PipelineError(
                f"{where} has more than {MAX_TEXT_CHARACTERS:,} characters, which is the most."
            )
        try:
            # Notepad and PowerShell begin a file with a byte order mark.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise PipelineError(
                f"{where} is not UTF-8: byte 0x{line[error.start]:02x} at position "
                f"{error.start + 1}."
            ) from error
        check_text(text, where)
        yield text


def json_lines(names: Sequence[str], scores: bool) -> Write:
    """Return a function that writes each answer as one JSON object on a line.

    Args:
        names: classes in the order of their ids.
        scores: whether to write every class's score.
    """

    def write(answer: Answer) -> str:
        text, row = answer
        best = int(row.argmax())
        fields: dict[str, object] = {
            "text": text,
            "label": names[best],
            "score": round(float(row[best]), DECIMALS),
        }
        if scores:
            fields["scores"] = {
                name: round(float(value), DECIMALS) for name, value in zip(names, row, strict=True)
            }
        line = json.dumps(fields, ensure_ascii=False)
        return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", line) + "\n"

    return write


def table_rows(names: Sequence[str], scores: bool) -> Write:
    """Print a table's header, and return a function that writes each answer as one of its rows.

    The columns have fixed widths, so that rows can be written as they come. The text comes last and
    is cut at the terminal's edge.

    Args:
        names: classes in the order of their ids.
        scores: whether to write every class's score.
    """
    names = [printable(name) for name in names]
    width = max(map(len, (*names, "label")))
    score_columns = [f"{name:>6}" for name in names] if scores else []
    header = "  ".join([f"{'label':{width}}", "score ", *score_columns, "text"])
    text_width = max(
        SMALLEST_TEXT_COLUMN, shutil.get_terminal_size().columns - len(header) + len("text")
    )
    print(header)  # noqa: T201

    def write(answer: Answer) -> str:
        text, row = answer
        best = int(row.argmax())
        cells = [f"{names[best]:{width}}", f"{row[best]:.4f}"]
        if scores:
            cells += [
                f"{value:>{max(6, len(name))}.4f}" for name, value in zip(names, row, strict=True)
            ]
        line = " ".join(text.split())
        cut = line if len(line) <= text_width else line[: text_width - 1] + "…"
        return "  ".join([*cells, printable(cut)]) + "\n"

    return write
