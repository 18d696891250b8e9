"""Find the files of each split: by the names in a folder, by a pattern, or one file."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.config.paths import is_directory, matching
from pipeline.data.rows import listed
from pipeline.data.streams import DECOMPRESS, is_url, suffixes
from pipeline.errors import PipelineError
from pipeline.names import TEST, TRAIN, VALIDATION

log = logging.getLogger(__name__)
FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
# What people call the splits.
SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev", "eval", "evaluation"),
    TEST: ("test", "testing"),
}
# train.csv, train-00000-of-00002.parquet, train_1.jsonl
FILE_NAME = re.compile(r"(?P<name>[a-z]+)(?:[-_.](?P<number>\d+)(?:-of-(?P<count>\d+))?)?")
INNER_FOLDERS = ("", "data")  # a copy of a repository of the Hub has its tables in data/


def files_in(folder: Path) -> dict[str, tuple[str, ...]]:
    """Find train, validation and test in a folder by their names.

    A split is one file, numbered files (train-00000-of-00002.parquet), or a folder of files.

    Args:
        folder: folder to look in.

    Returns:
        Paths by split, for the splits that are there.

    Raises:
        PipelineError: there is no such folder, as on another machine than the run's; it may not be
            read; there is no train file, two candidates for a split, or one of its numbered files
            is missing.
    """
    if not is_directory(folder):
        raise PipelineError(f"dataset.data_dir={folder} is not a directory on this machine.")
    for inner in INNER_FOLDERS:
        if is_directory(folder / inner):
            files = {split: _files_of(split, folder / inner) for split in SPLIT_NAMES}
            if files[TRAIN]:
                _tell_unused(folder / inner, files)
                return {split: paths for split, paths in files.items() if paths}
    names = [path.name for path in _inside(folder)]
    accepted = ", ".join(f"{TRAIN}{suffix}" for suffix in FORMATS)
    raise PipelineError(
        f"dataset.data_dir={folder} has no train file ({accepted}); it has: "
        f"{listed(names) or 'nothing'}."
    )


def files_named(key: str, value: str) -> tuple[str, ...]:
    """Find the files that a config's value names: a file, a URL, or a pattern such as part-*.csv.

    Args:
        key: key of the config, for the error.
        value: its value.

    Raises:
        PipelineError: nothing matches the pattern.
    """
    if is_url(value):
        return (value,)
    files = matching(value)
    if not files:
        raise PipelineError(f"{key}={value} does not exist.")
    return tuple(sorted(files, key=_natural))


def check_format(file: str) -> str:
    """Return the format of a file by its name's ending.

    Args:
        file: path or URL.

    Raises:
        PipelineError: it has none that can be read.
    """
    suffix, _ = suffixes(file)
    if suffix not in FORMATS:
        raise PipelineError(
            f"{file} has an unknown format {suffix!r}; accepted: {', '.join(FORMATS)}, each also "
            f"compressed ({', '.join(DECOMPRESS)})."
        )
    return suffix


def _files_of(split: str, folder: Path) -> tuple[str, ...]:
    found: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    counts: set[int] = set()
    for path in _inside(folder):
        endings = suffixes(path.name)
        match = FILE_NAME.fullmatch(path.name.lower().removesuffix("".join(endings)))
        if match is None or match["name"] not in SPLIT_NAMES[split]:
            continue
        if is_directory(path):
            inner = [file for file in _inside(path) if suffixes(file.name)[0] in FORMATS]
            if inner:
                found[match["name"], "/"] = list(enumerate(inner))
        elif endings[0] in FORMATS:
            kind = "".join(endings) + ("" if match["number"] is None else " numbered")
            found.setdefault((match["name"], kind), []).append((int(match["number"] or 0), path))
            if match["count"] is not None:
                counts.add(int(match["count"]))
    if len(found) > 1:
        names = [files[0][1].name for files in found.values()]
        raise PipelineError(
            f"{folder} has {len(names)} candidates for {split}: {', '.join(names)}; keep one, or "
            f"name it with dataset.{split}_file."
        )
    files = [file for candidates in found.values() for file in sorted(candidates)]
    if counts and counts != {len(files)}:
        raise PipelineError(
            f"{folder} has {len(files)} of the {max(counts)} files of {split} "
            f"({files[0][1].name} and on)."
        )
    return tuple(str(path) for _, path in files)


def _tell_unused(folder: Path, files: Mapping[str, Sequence[str]]) -> None:
    """Warn of tables that may be a split under another name, where a split is not there."""
    missing = [split for split, paths in files.items() if not paths]
    used = {path for paths in files.values() for path in paths}
    unused = [
        path.name
        for path in _inside(folder)
        if str(path) not in used and suffixes(path.name)[0] in FORMATS and not is_directory(path)
    ]
    if missing and unused:
        line = "%s has no %s file, so that train is split; not used: %s"
        log.warning(line, folder, " and no ".join(missing), listed(unused))


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise PipelineError(
            f"the folder {folder} cannot be read: {error.strerror}; dataset.data_dir takes one "
            "that may be read and entered."
        ) from error


def _natural(file: str) -> list[tuple[int, str]]:
    """Order part-10 after part-9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file)]
