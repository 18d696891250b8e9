"""Classify texts with a deployed model: python -m pipeline.predict [TEXT ...] [--file FILE] [--model MODEL]."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.console import command_line, quiet
from pipeline.errors import PipelineError
from pipeline.inference.classifier import MAX_TEXT_CHARACTERS, TextClassifier, check_text
from pipeline.tracking.locate_model import model_directory
from pipeline.tracking.store import CHAMPION

MAX_LINE_BYTES = (
    4 * MAX_TEXT_CHARACTERS + 2
)  # UTF-8 takes at most 4 bytes a character; and the line's end


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.predict",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Classify texts with a deployed model.",
        epilog="examples:\n"
        '  python -m pipeline.predict "what a day" "i am so tired"\n'
        "  python -m pipeline.predict --file texts.txt --model RUN_ID > answers.jsonl\n"
        "  zcat big.gz | python -m pipeline.predict --format table --scores --model models:/NAME@champion\n",
    )
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="*",
        help="texts; without any, one is read from each line of --file",
    )
    parser.add_argument(
        "--file", default="-", help="UTF-8, one text a line; - (default) is standard input"
    )
    parser.add_argument(
        "--model",
        default=CHAMPION,
        help="run id, models:/NAME@ALIAS, models:/NAME/VERSION or directory (default: %(default)s)",
    )
    parser.add_argument(
        "--format", choices=("jsonl", "table"), default="jsonl", help="default: %(default)s"
    )
    parser.add_argument(
        "--scores", action="store_true", help="every class's score, not the best one's alone"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="of the runtime; 0 (default) uses all cores"
    )
    options = parser.parse_args(arguments)
    return command_line.exit_code(lambda: _predict(options))


def _predict(options: argparse.Namespace) -> None:
    os.environ.setdefault(
        "TOKENIZERS_PARALLELISM", "true"
    )  # nothing is forked here, which is what quiet turns it off for
    quiet.third_parties()
    if options.texts:
        for place, text in enumerate(options.texts, start=1):
            check_text(text, f"text {place}")
        texts: Iterator[str] = iter(options.texts)
    else:
        texts = _lines(options.file)
    classifier = TextClassifier(model_directory(options.model), options.threads)
    show = {"jsonl": json_lines, "table": table_rows}[options.format](
        classifier.label_names, options.scores
    )
    try:
        for answer in command_line.progress(map(show, classifier.stream(texts)), "text"):
            sys.stdout.write(answer)
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
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise PipelineError(
                f"{where} is not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}."
            ) from error
        check_text(text, where)
        yield text


Show = Callable[[tuple[str, np.ndarray]], str]


def json_lines(names: Sequence[str], scores: bool) -> Show:
    """Show each answer as one JSON object a line."""

    def show(answer: tuple[str, np.ndarray]) -> str:
        text, row = answer
        best = int(row.argmax())
        shown: dict[str, object] = {
            "text": text,
            "label": names[best],
            "score": round(float(row[best]), 6),
        }
        if scores:
            shown["scores"] = {
                name: round(float(value), 6) for name, value in zip(names, row, strict=True)
            }
        return json.dumps(shown, ensure_ascii=False) + "\n"

    return show


def table_rows(names: Sequence[str], scores: bool) -> Show:
    """Columns of a fixed width, so that rows are shown as they come; the text comes last and is cut at the terminal's edge."""
    width = max(map(len, (*names, "label")))
    columns = [
        f"{'label':{width}}",
        "score ",
        *([f"{name:>6}" for name in names] if scores else []),
        "text",
    ]
    header = "  ".join(columns)
    room = max(20, shutil.get_terminal_size().columns - len(header) + len("text"))
    print(header)  # noqa: T201

    def show(answer: tuple[str, np.ndarray]) -> str:
        text, row = answer
        best = int(row.argmax())
        cells = [f"{names[best]:{width}}", f"{row[best]:.4f}"]
        if scores:
            cells += [
                f"{value:>{max(6, len(name))}.4f}" for name, value in zip(names, row, strict=True)
            ]
        shown = " ".join(text.split())
        return "  ".join([*cells, shown if len(shown) <= room else shown[: room - 1] + "…"]) + "\n"

    return show


if __name__ == "__main__":
    sys.exit(main())
