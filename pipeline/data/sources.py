"""Raw tables of a corpus: from files, a directory or the Hugging Face Hub."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.config.schema import DatasetConfig
from pipeline.errors import PipelineError

LOCAL_HINT = "python -m pipeline model.name_or_path=DIR dataset=emotion dataset.data_dir=DIR"

# "NA", "null" and "123" are texts that somebody may have written: nothing is turned into a missing value or a number.
READERS: Mapping[str, Callable[[str], pd.DataFrame]] = {
    ".csv": lambda file: pd.read_csv(file, dtype=str, keep_default_na=False),
    ".tsv": lambda file: pd.read_csv(file, dtype=str, keep_default_na=False, sep="\t"),
    ".jsonl": lambda file: pd.read_json(file, lines=True, dtype=False, convert_dates=False),
    ".json": lambda file: pd.read_json(file, lines=True, dtype=False, convert_dates=False),
    ".parquet": pd.read_parquet,
}


@dataclass(frozen=True)
class Sources:
    """Tables as they were found.

    Args:
        frames: train, and validation and test where given, with whatever columns they have.
        label_names: the classes by id where the source declares them.
        origin: a directory, file, URL or Hub id, for the record.
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
            for split in ("train", "validation", "test")
            if getattr(config, f"{split}_file")
        }
        return Sources(
            {split: read_table(file) for split, file in files.items()}, None, config.train_file
        )
    if config.data_dir:
        files = files_in(Path(config.data_dir))
        return Sources(
            {split: read_table(file) for split, file in files.items()}, None, config.data_dir
        )
    return _read_hub(config)


def files_in(folder: Path) -> dict[str, str]:
    """Find train, validation and test in a folder by their names.

    Raises:
        PipelineError: there is no train file.
    """
    found: dict[str, str] = {}
    for split in ("train", "validation", "test"):
        for suffix in READERS:
            if (folder / f"{split}{suffix}").is_file():
                found[split] = str(folder / f"{split}{suffix}")
                break
    if "train" not in found:
        names = sorted(path.name for path in folder.iterdir())
        raise PipelineError(
            f"dataset.data_dir={folder} has no train file ({', '.join(f'train{suffix}' for suffix in READERS)}); "
            f"it has: {', '.join(names[:10]) or 'nothing'}."
        )
    return found


def read_table(file: str) -> pd.DataFrame:
    """Read one table, its format told by the name's ending.

    Args:
        file: a path or URL that ends in .csv, .tsv, .jsonl, .json (lines) or .parquet.

    Raises:
        PipelineError: the ending is another, or the content is not what the ending says.
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
    except (
        OSError,
        ValueError,
    ) as error:  # ParserError, UnicodeDecodeError and ArrowInvalid are ValueErrors
        raise PipelineError(
            f"{file} cannot be read as {suffix[1:]}: {str(error).splitlines()[0]}"
        ) from error


def _read_hub(config: DatasetConfig) -> Sources:
    import datasets

    try:
        found = datasets.load_dataset(config.path, config.config_name, revision=config.revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = (
            f"{type(error).__name__}: {str(error).splitlines()[0]}"
            if str(error)
            else type(error).__name__
        )
        raise PipelineError(
            f"dataset {config.path} cannot be had from the Hugging Face Hub ({reason}); to run from local files: {LOCAL_HINT}"
        ) from error
    wanted = {
        "train": config.train_split,
        "validation": config.validation_split,
        "test": config.test_split,
    }
    for split, name in wanted.items():
        if name is not None and name not in found:
            raise PipelineError(
                f"dataset.{split}_split={name} is not in {config.path}; it has: {', '.join(found)}."
            )
    label = found[config.train_split].features.get(config.label_column)
    label_names = tuple(label.names) if isinstance(label, datasets.ClassLabel) else None
    frames = {split: found[name].to_pandas() for split, name in wanted.items() if name is not None}
    return Sources(frames, label_names, str(config.path))
