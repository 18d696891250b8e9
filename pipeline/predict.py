"""Classify texts with a deployed model: python -m pipeline.predict [TEXT ...] [--file FILE]."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.console import command_line, third_parties
from pipeline.cpus import available_cpus
from pipeline.errors import PipelineError
from pipeline.inference.classifier import TextClassifier
from pipeline.inference.texts import MAX_TEXT_CHARACTERS, check_text
from pipeline.names import CHAMPION
from pipeline.tracking.locate_model import model_directory

# UTF-8 takes at most 4 bytes for a character; the line's end takes 2.
MAX_LINE_BYTES = 4 * MAX_TEXT_CHARACTERS + 2
SMALLEST_TEXT_COLUMN = 20  # characters
EXAMPLES = """\
examples:
  python -m pipeline.predict "what a day" "i am so tired"
  python -m pipeline.predict --file texts.txt --model RUN_ID > answers.jsonl
  zcat big.gz | python -m pipeline.predict --format table --scores --model models:/NAME@champion
"""

Answer = tuple[str, np.ndarray]
"""A text with its probabilities (num_labels,)."""

Write = Callable[[Answer], str]
"""Writes an answer as a line."""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.predict",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Classify texts with a deployed model.",
        epilog=EXAMPLES,
    )
    command.add_argument(
        "texts",
        metavar="TEXT",
        nargs="*",
        help="texts to classify; without any, one is read from each line of --file",
    )
    command.add_argument(
        "--file",
        default="-",
        help="UTF-8 file with one text a line; - (default) is standard input",
    )
    command.add_argument(
        "--model",
        default=CHAMPION,
        help="run id, models:/NAME@ALIAS, models:/NAME/VERSION or directory (default: %(default)s)",
    )
    command.add_argument(
        "--format",
        choices=("jsonl", "table"),
        default="jsonl",
        help="format of the answers (default: %(default)s)",
    )
    command.add_argument(
        "--scores", action="store_true", help="show every class's score, not only the best one's"
    )
    command.add_argument(
        "--threads",
        type=int,
        default=0,
        help="number of threads; 0 (default) takes one for each available CPU",
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what was typed after the command's name; None takes the process's.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    return command_line.exit_code(lambda: _predict(options))


def _predict(options: argparse.Namespace) -> None:
    if options.threads < 0:
        raise PipelineError(f"--threads {options.threads} must be 0 or more.")
    third_parties.prepare()
    if options.texts:
        for place, text in enumerate(options.texts, start=1):
            check_text(text, f"text {place}")
        texts: Iterator[str] = iter(options.texts)
    else:
        texts = _lines(options.file)
    # A thread for each call, and a call for each CPU: they need not wait for each other.
    calls = options.threads or available_cpus()
    classifier = TextClassifier(model_directory(options.model), threads=1, calls=calls)
    writers = {"jsonl": json_lines, "table": table_rows}
    write = writers[options.format](classifier.label_names, options.scores)
    try:
        for line in command_line.progress(map(write, classifier.stream(texts)), "text"):
            sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lines(name: str) -> Iterator[str]:
    if name == "-":
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
            "score": round(float(row[best]), 6),
        }
        if scores:
            fields["scores"] = {
                name: round(float(value), 6) for name, value in zip(names, row, strict=True)
            }
        return json.dumps(fields, ensure_ascii=False) + "\n"

    return write


def table_rows(names: Sequence[str], scores: bool) -> Write:
    """Print a table's header, and return a function that writes each answer as one of its rows.

    The columns have fixed widths, so that rows can be written as they come. The text comes last and
    is cut at the terminal's edge.

    Args:
        names: classes in the order of their ids.
        scores: whether to write every class's score.
    """
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
        return "  ".join([*cells, cut]) + "\n"

    return write


if __name__ == "__main__":
    sys.exit(main())
