"""Say what is to be classified, with what, and where the answers go."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.paths import is_directory
from pipeline.data.rows import Columns
from pipeline.data.streams import is_url
from pipeline.errors import PipelineError

SUFFIX = ".parquet"
PART_ROWS = 32_768  # some seconds of work, which is what a kill can cost


@dataclass(frozen=True)
class Job:
    """A table to classify.

    Args:
        files: paths or URLs of the table.
        encoding: encoding of text files; None recognizes it.
        columns: columns with the texts.
        model: directory of the deployed model.
        label_names: classes of the model, in the order of their ids.
        output: Parquet file to write.
        scores: whether every class's score is added.
    """

    files: tuple[str, ...]
    encoding: str | None
    columns: Columns
    model: Path
    label_names: tuple[str, ...]
    output: Path
    scores: bool


def as_option(key: str, name: str) -> str:
    """Write a column's name as it was typed: --text-column text."""
    return f"--{key.replace('_', '-')} {name}"


def output_file(typed: str, files: tuple[str, ...]) -> Path:
    """Check the name of an output.

    Args:
        typed: what was typed behind --output.
        files: files that are read.

    Returns:
        The file; of a link, the file that it points to.

    Raises:
        PipelineError: it is no Parquet file on this machine, its folder is missing, or it is one of
            the files that are read.
    """
    output = Path(typed)
    if is_url(typed) or output.suffix.lower() != SUFFIX:
        raise PipelineError(f"--output {typed} must be a file of this machine named *{SUFFIX}.")
    if is_directory(output):
        raise PipelineError(f"--output {typed} is a directory; name a file in it.")
    if not is_directory(output.parent):
        raise PipelineError(f"--output {typed}: there is no directory {output.parent}.")
    for file in files:
        if not is_url(file) and Path(file).resolve() == output.resolve():
            raise PipelineError(f"--output {typed} is the file that is read; choose another.")
    # What a link points to is written, not put in the link's place.
    return output.resolve() if output.is_symlink() else output
