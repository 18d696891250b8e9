"""Take the paths that a config gives: write out their ~, and make sure that they are there."""

import os
from pathlib import Path

from pipeline.config.hub import looks_local
from pipeline.config.paths import exists, is_directory, matching, with_home
from pipeline.config.schema import Config, DatasetConfig, TrainerConfig
from pipeline.errors import PipelineError

FILE_KEYS = ("data_dir", "train_file", "validation_file", "test_file", "unlabelled_file")


def write_home_out(config: Config) -> None:
    """Write out the ~ of paths: Hydra takes it in quotes alone, where a shell leaves it.

    Args:
        config: config whose paths are changed in place.
    """
    keys_of_groups = (
        (config.dataset, FILE_KEYS),
        (config.model, ("name_or_path",)),
        (config.distillation, ("teacher",)),
        (config.trainer, ("output_dir", "resume_from_checkpoint")),
    )
    for group, keys in keys_of_groups:
        for key in keys:
            if (value := getattr(group, key, None)) is not None:
                setattr(group, key, with_home(value))


def check_paths(config: Config) -> None:
    """Make sure that paths exist, and that checkpoints can be written.

    Args:
        config: config to check.

    Raises:
        PipelineError: a path is not there, or is none of its kind; the line names its key.
    """
    if config.distillation is not None:
        _check_model("distillation.teacher", config.distillation.teacher)
    _check_dataset(config.dataset)
    _check_model("model.name_or_path", config.model.name_or_path)
    _check_checkpoints(config.trainer)


def _check_dataset(dataset: DatasetConfig) -> None:
    for key in FILE_KEYS:
        value = getattr(dataset, key)
        if value is not None and "://" not in value and not _is_there(key, value):
            raise PipelineError(f"dataset.{key}={value} does not exist{_how_to_fetch(value)}.")
        if value is not None and key != "data_dir" and is_directory(value):
            raise PipelineError(
                f"dataset.{key}={value} is a directory; for a directory use dataset.data_dir."
            )
    if dataset.data_dir and not is_directory(dataset.data_dir):
        raise PipelineError(
            f"dataset.data_dir={dataset.data_dir} is not a directory; for one file use "
            "dataset.train_file."
        )
    if dataset.train_file is None and (dataset.validation_file or dataset.test_file):
        raise PipelineError(
            "dataset.train_file has no value; dataset.validation_file and dataset.test_file need "
            "it."
        )
    if not (dataset.path or dataset.data_dir or dataset.train_file):
        raise PipelineError(
            "dataset.train_file has no value; give dataset.train_file=FILE or dataset.data_dir=DIR."
        )


def _is_there(key: str, value: str) -> bool:
    return exists(value) if key == "data_dir" else bool(matching(value))


def _check_model(key: str, name_or_path: str) -> None:
    if looks_local(name_or_path) and not is_directory(name_or_path):
        raise PipelineError(
            f"{key}={name_or_path} is not a directory{_how_to_fetch(name_or_path)}."
        )


def _check_checkpoints(trainer: TrainerConfig) -> None:
    earlier, folder = trainer.resume_from_checkpoint, trainer.output_dir
    if earlier is not None and not _is_readable_directory(earlier):
        raise PipelineError(
            f"trainer.resume_from_checkpoint={earlier} holds no checkpoints of a run; it takes the "
            "trainer.output_dir of an earlier start, or a checkpoint-N in it."
        )
    if folder is None:
        return
    existing = next(path for path in (Path(folder), *Path(folder).parents) if exists(path))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        what = "cannot be written" if existing.is_dir() else "is not a directory"
        raise PipelineError(f"trainer.output_dir={folder}: {existing} {what}.")


def _is_readable_directory(path: str) -> bool:
    return is_directory(path) and os.access(path, os.R_OK | os.X_OK) and any(Path(path).iterdir())


def _how_to_fetch(path: str) -> str:
    return (
        "; make assets (python -m pipeline.assets) fetches it" if path.startswith("assets/") else ""
    )
