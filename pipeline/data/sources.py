"""Read the raw tables of a corpus from files, a directory or the Hugging Face Hub."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.config.hub import LOCAL_HINT
from pipeline.config.schema import DatasetConfig
from pipeline.errors import PipelineError
from pipeline.names import SPLITS, TEST, TRAIN, VALIDATION

LISTED_FILES = 10  # that an error names

# "NA", "null" and "123" are texts that somebody may have written: nothing is turned into a missing
# value or a number.
READERS: Mapping[str, Callable[[str], pd.DataFrame]] = {
    ".csv": lambda file: pd.read_csv(file, dtype=str, keep_default_na=False),
    ".tsv": lambda file: pd.read_csv(file, dtype=str, keep_default_na=False, sep="\t"),
    ".jsonl": lambda file: pd.read_json(file, lines=True, dtype=False, convert_dates=False),
    ".json": lambda file: pd.read_json(file, lines=True, dtype=False, convert_dates=False),
    ".parquet": pd.read_parquet,
}


@dataclass(frozen=True)
class Sources:
    """Tables as they were read, unchecked.

    Args:
        frames: table by split: train, and validation and test where given, with all their columns.
        label_names: classes by id where the source declares them, else None.
        origin: directory, file, URL or Hub id that the tables come from, for the record.
    """

    frames: Mapping[str, pd.DataFrame]
    label_names: tuple[str, ...] | None
    origin: str


def read_sources(config: DatasetConfig) -> Sources:
    """Read the splits from train_file, else from data_dir, else from the Hub.

    Args:
        config: the dataset group.

    Returns:
        The tables, unchecked.

    Raises:
        PipelineError: a file is missing or unreadable, or the Hub does not answer.
    """
    if config.train_file:
        files = {
            split: getattr(config, f"{split}_file")
            for split in SPLITS
            if getattr(config, f"{split}_file")
        }
        return Sources(_read_tables(files), None, config.train_file)
    if config.data_dir:
        return Sources(_read_tables(files_in(Path(config.data_dir))), None, config.data_dir)
    return _read_hub(config)


def files_in(folder: Path) -> dict[str, str]:
    """Find train, validation and test in a folder by their names.

    Args:
        folder: folder to look in.

    Returns:
        Path by split, for the splits that are there.

    Raises:
        PipelineError: there is no train file.
    """
    files: dict[str, str] = {}
    for split in SPLITS:
        for suffix in READERS:
            if (folder / f"{split}{suffix}").is_file():
                files[split] = str(folder / f"{split}{suffix}")
                break
    if TRAIN not in files:
        names = sorted(path.name for path in folder.iterdir())
        accepted = ", ".join(f"{TRAIN}{suffix}" for suffix in READERS)
        raise PipelineError(
            f"dataset.data_dir={folder} has no train file ({accepted}); it has: "
            f"{', '.join(names[:LISTED_FILES]) or 'nothing'}."
        )
    return files


def read_table(file: str) -> pd.DataFrame:
    """Read one table in the format that its name ends with.

    Args:
        file: path or URL that ends in .csv, .tsv, .jsonl, .json (lines) or .parquet.

    Raises:
        PipelineError: the name ends otherwise, or the content is in another format.
    """
    suffix = Path(file.split("?")[0]).suffix.lower()
    if suffix not in READERS:
        raise PipelineError(
            f"{file} has an unknown format {suffix!r}; accepted: {', '.join(READERS)}."
        )
    try:
        return READERS[suffix](file)
    except pd.errors.EmptyDataError:
        raise PipelineError(f"{file} is empty; it needs a header and at least one row.") from None
    # ParserError, UnicodeDecodeError and ArrowInvalid are ValueErrors.
    except (OSError, ValueError) as error:
        raise PipelineError(
            f"{file} cannot be read as {suffix[1:]}: {str(error).splitlines()[0]}"
        ) from error


def _read_tables(files: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    return {split: read_table(file) for split, file in files.items()}


def _read_hub(config: DatasetConfig) -> Sources:
    import datasets

    try:
        downloaded = datasets.load_dataset(
            config.path, config.config_name, revision=config.revision
        )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        message = f": {str(error).splitlines()[0]}" if str(error) else ""
        raise PipelineError(
            f"dataset {config.path} cannot be loaded from the Hugging Face Hub "
            f"({type(error).__name__}{message}); to run from local files: {LOCAL_HINT}"
        ) from error
    hub_names = {
        TRAIN: config.train_split,
        VALIDATION: config.validation_split,
        TEST: config.test_split,
    }
    for split, name in hub_names.items():
        if name is not None and name not in downloaded:
            raise PipelineError(
                f"dataset.{split}_split={name} is not in {config.path}; it has: "
                f"{', '.join(downloaded)}."
            )
    label = downloaded[config.train_split].features.get(config.label_column)
    label_names = tuple(label.names) if isinstance(label, datasets.ClassLabel) else None
    frames = {
        split: downloaded[name].to_pandas() for split, name in hub_names.items() if name is not None
    }
    return Sources(frames, label_names, str(config.path))
