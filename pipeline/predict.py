"""Classify texts or a table: python -m pipeline.predict [TEXT ...] [--file FILE] [--output OUT]."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.bulk.lines import STANDARD_INPUT, json_lines, lines_of_text, table_rows
from pipeline.config.checks import check_encoding
from pipeline.config.paths import with_home
from pipeline.console import command_line, third_parties
from pipeline.cpus import available_cpus
from pipeline.errors import PipelineError
from pipeline.inference.classifier import TextClassifier
from pipeline.inference.texts import check_text
from pipeline.names import CHAMPION
from pipeline.tracking.locate_model import model_directory

# What reads tables takes a fifth of a second to import.
if TYPE_CHECKING:
    from pipeline.data.rows import Columns

LOCAL, RAY = "local", "ray"
JSON_LINES, TABLE = "jsonl", "table"
TEXT_COLUMN = "text"  # as in training (dataset.text_column)
EXAMPLES = """\
examples:
  python -m pipeline.predict "what a day" "i am so tired"
  python -m pipeline.predict --file texts.txt --model RUN_ID > answers.jsonl
  python -m pipeline.predict --file IN.csv --text-column review --output OUT.parquet
  zcat big.gz | python -m pipeline.predict --format table --scores --model models:/NAME@champion
"""


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
        type=with_home,
        default=STANDARD_INPUT,
        help="UTF-8 file with one text a line, or a table: .parquet, .csv, .tsv, .jsonl or .json, "
        "also compressed, and a pattern of several; - (default) is standard input, texts alone",
    )
    _add_options_of_tables(command)
    command.add_argument(
        "--model",
        default=CHAMPION,
        help="run id, models:/NAME@ALIAS, models:/NAME/VERSION or directory (default: %(default)s)",
    )
    command.add_argument(
        "--format",
        choices=(JSON_LINES, TABLE),
        help=f"format of the answers that are printed (default: {JSON_LINES})",
    )
    command.add_argument(
        "--scores",
        action=argparse.BooleanOptionalAction,
        help="give every class's score, not only the best one's (default: with --output alone)",
    )
    command.add_argument(
        "--threads",
        type=int,
        default=0,
        help="number of threads; 0 (default) takes one for each available CPU",
    )
    return command


def _add_options_of_tables(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--text-column",
        metavar="NAME",
        help=f"column of a table with the texts (default: {TEXT_COLUMN})",
    )
    command.add_argument(
        "--text-pair-column",
        metavar="NAME",
        help="column with the second texts, for a model of pairs",
    )
    command.add_argument(
        "--encoding",
        help="encoding of a table in text (default: told by its first bytes, or UTF-8)",
    )
    command.add_argument(
        "--output",
        type=with_home,
        metavar="OUT.parquet",
        help="file for a table with its columns, label, score and scores; what was stopped goes on "
        "with the same command",
    )
    command.add_argument(
        "--engine",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="what classifies for --output: this process, or Ray Data on the cluster that is "
        "running, else on this machine (default: %(default)s)",
    )


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
    _check(options)
    third_parties.prepare()
    files = () if options.texts else _files_of_table(options.file)
    if options.encoding is not None:
        check_encoding("--encoding", options.encoding)
    if not files:
        _refuse_options_of_tables(options)
    if options.output is None:
        _print_answers(options, files)
    else:
        _write_table(options, files)


def _check(options: argparse.Namespace) -> None:
    if options.threads < 0:
        raise PipelineError(f"--threads {options.threads} must be 0 or more.")
    if options.texts and options.file != STANDARD_INPUT:
        raise PipelineError(f"give texts or --file {options.file}, not both.")
    if options.output is None and options.engine != LOCAL:
        raise PipelineError(f"--engine {options.engine} writes a file: give --output OUT.parquet.")
    if options.output is not None and options.format is not None:
        raise PipelineError(
            f"--format {options.format} is for answers that are printed; --output "
            f"{options.output} is a Parquet file."
        )


def _files_of_table(name: str) -> tuple[str, ...]:
    """Find the files of a table that --file names; none if it names lines of text."""
    if name == STANDARD_INPUT:
        return ()
    from pipeline.data.files import FORMATS, files_named
    from pipeline.data.streams import suffixes

    if suffixes(name)[0] not in FORMATS:
        return ()
    return files_named("--file", name)


def _refuse_options_of_tables(options: argparse.Namespace) -> None:
    for option in ("text_column", "text_pair_column", "encoding", "output"):
        if getattr(options, option) is not None:
            raise PipelineError(
                f"--{option.replace('_', '-')} is for a table: --file with .parquet, .csv, .tsv, "
                ".jsonl or .json, also compressed."
            )


def _print_answers(options: argparse.Namespace, files: tuple[str, ...]) -> None:
    classifier = _classifier(options, model_directory(options.model))
    writers = {JSON_LINES: json_lines, TABLE: table_rows}
    write = writers[options.format or JSON_LINES](classifier.label_names, bool(options.scores))
    texts = _texts(options, files, classifier.takes_pairs)
    for line in command_line.progress(map(write, classifier.stream(texts)), "text"):
        with command_line.writing(command_line.STANDARD_OUTPUT):
            sys.stdout.write(line)
    with command_line.writing(command_line.STANDARD_OUTPUT):
        sys.stdout.flush()


def _write_table(options: argparse.Namespace, files: tuple[str, ...]) -> None:
    from pipeline.bulk.classify import classify_table
    from pipeline.bulk.job import Job, output_file
    from pipeline.bulk.local import answered_here

    output = output_file(options.output, files)
    directory = model_directory(options.model)
    classifier = _classifier(options, directory)
    job = Job(
        files=files,
        encoding=options.encoding,
        columns=_columns(options, classifier.takes_pairs),
        model=directory,
        label_names=classifier.label_names,
        output=output,
        scores=options.scores is not False,
    )
    if options.engine == LOCAL:
        classify_table(job, partial(answered_here, classifier))
        return
    from pipeline.bulk.ray_data import answered_by_ray

    cpus = options.threads or available_cpus()
    classify_table(job, partial(answered_by_ray, directory, cpus))


def _classifier(options: argparse.Namespace, directory: Path) -> TextClassifier:
    # A thread for each call, and a call for each CPU: they need not wait for each other.
    return TextClassifier(directory, threads=1, calls=options.threads or available_cpus())


def _texts(options: argparse.Namespace, files: tuple[str, ...], takes_pairs: bool) -> Iterator[str]:
    if options.texts:
        for place, text in enumerate(options.texts, start=1):
            check_text(text, f"text {place}")
        return iter(options.texts)
    if not files:
        return lines_of_text(options.file)
    from pipeline.bulk.questions import checked_texts

    return checked_texts(files, options.encoding, _columns(options, takes_pairs))


def _columns(options: argparse.Namespace, takes_pairs: bool) -> "Columns":
    from pipeline.bulk.job import as_option
    from pipeline.data.rows import Columns

    if takes_pairs and options.text_pair_column is None:
        raise PipelineError(
            f"the model takes pairs of texts; {options.file} is read as a table: name the column "
            "of the second ones with --text-pair-column NAME, or, if it has no header, give its "
            "lines of two texts with a tab between them by standard input (< FILE)."
        )
    if options.text_pair_column is not None and not takes_pairs:
        raise PipelineError(
            f"the model takes single texts; leave --text-pair-column {options.text_pair_column} "
            "out."
        )
    text = TEXT_COLUMN if options.text_column is None else options.text_column
    return Columns(text, None, options.text_pair_column, as_typed=as_option)


if __name__ == "__main__":
    sys.exit(main())
