"""Read, check and split labelled texts into a corpus."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pandas as pd

from pipeline.config.schema import DatasetConfig
from pipeline.data.sources import read_sources
from pipeline.errors import PipelineError
from pipeline.inference.texts import PAIR_SEPARATOR
from pipeline.names import SPLITS, TEST, TRAIN, VALIDATION

LISTED_ROWS = 5  # bad rows that an error names before it says "and n more"
COLUMN_KEYS = ("text_column", "text_pair_column", "label_column")
FEATURES = datasets.Features({"text": datasets.Value("string"), "label": datasets.Value("int64")})


@dataclass(frozen=True)
class Corpus:
    """Labelled texts in three splits.

    Args:
        name: short name.
        label_names: classes in the order of their ids.
        splits: train, validation and test, each with `text` (str; both texts of a pair, with a tab
            between them) and `label` (int, index into label_names).
        source: where the texts come from, for the record.
    """

    name: str
    label_names: tuple[str, ...]
    splits: Mapping[str, datasets.Dataset]
    source: str

    def digest(self, split: str) -> str:
        """Hash a split's texts and labels in order: the first 16 hex digits of their SHA-256."""
        sha = hashlib.sha256()
        for batch in self.splits[split].iter(batch_size=1000):
            for text, label in zip(batch["text"], batch["label"], strict=True):
                sha.update(f"{label}\t{text}\n".encode())
        return sha.hexdigest()[:16]

    def digests(self) -> dict[str, str]:
        """Hash every split; the result is by the split's name."""
        return {split: self.digest(split) for split in self.splits}


def load_corpus(config: DatasetConfig) -> Corpus:
    """Read, check and split the labelled texts.

    A split that is not given is taken from train: stratified by label, with split_seed.

    Args:
        config: the dataset group.

    Returns:
        Three non-empty splits over the same classes.

    Raises:
        PipelineError: a file, split or column is missing, a row is bad (with on_bad_rows=error), a
            split is empty, there is one class only, or validation or test has a label that train
            does not have.
    """
    sources = read_sources(config)
    frames = {split: _clean(frame, split, config) for split, frame in sources.frames.items()}
    label_names = tuple(
        config.label_names or sources.label_names or _label_names(frames[TRAIN]["label"])
    )
    _check_two_classes(label_names, config.name)
    frames = {split: _encode(frame, split, label_names) for split, frame in frames.items()}
    _check_labels(frames, label_names, config.name)
    splits = {
        split: datasets.Dataset.from_pandas(
            frame[["text", "label"]], features=FEATURES, preserve_index=False
        )
        for split, frame in frames.items()
    }
    for split in (TEST, VALIDATION):
        if split not in splits:
            splits[TRAIN], splits[split] = _split_off(splits[TRAIN], split, label_names, config)
    splits = {split: _limited(splits[split], split, config) for split in SPLITS}
    return Corpus(config.name, label_names, splits, sources.origin)


def _clean(frame: pd.DataFrame, split: str, config: DatasetConfig) -> pd.DataFrame:
    """Check a raw table, and reduce it to the columns text and label."""
    for key in COLUMN_KEYS:
        column = getattr(config, key)
        if column is not None and column not in frame.columns:
            raise PipelineError(
                f"dataset.{key}={column!r} is not in {split}; its columns are: "
                f"{', '.join(map(str, frame.columns))}."
            )
    rows = pd.DataFrame({"text": frame[config.text_column], "label": frame[config.label_column]})
    bad = _without_text(rows["text"]) | _without_label(rows["label"])
    if config.text_pair_column is not None:
        second_texts = frame[config.text_pair_column]
        bad |= _without_text(second_texts)
        rows["text"] = [
            _pair(first, second) for first, second in zip(rows["text"], second_texts, strict=True)
        ]
    if bad.any() and config.on_bad_rows == "error":
        raise PipelineError(_bad_rows_line(bad, split, config))
    rows = rows[~bad].reset_index(drop=True)
    if rows.empty:
        raise PipelineError(
            f"dataset {config.name}: {split} is empty; it needs at least one row with text and "
            "label."
        )
    return rows


def _without_text(texts: "pd.Series[Any]") -> np.ndarray:
    return np.array([not isinstance(text, str) or not text.strip() for text in texts], dtype=bool)


def _without_label(labels: "pd.Series[Any]") -> np.ndarray:
    return np.array(
        [
            not pd.api.types.is_scalar(label) or pd.isna(label) or not str(label).strip()
            for label in labels
        ],
        dtype=bool,
    )


def _pair(*texts: object) -> str:
    return PAIR_SEPARATOR.join(str(text).replace(PAIR_SEPARATOR, " ") for text in texts)


def _bad_rows_line(bad: np.ndarray, split: str, config: DatasetConfig) -> str:
    numbers = [str(row + 1) for row in np.flatnonzero(bad)]
    more = f" and {len(numbers) - LISTED_ROWS} more" if len(numbers) > LISTED_ROWS else ""
    return (
        f"dataset {config.name}: {split} has {len(numbers)} rows with an empty or non-text "
        f"{config.text_column!r} or an empty {config.label_column!r}: row "
        f"{', '.join(numbers[:LISTED_ROWS])}{more} (the first row of data is 1); "
        "correct them or set dataset.on_bad_rows=drop."
    )


def _as_ids(labels: "pd.Series[Any]") -> "pd.Series[Any] | None":
    """Read labels as integers if every one is a whole number or its spelling, else return None."""
    numbers = pd.to_numeric(labels, errors="coerce")
    if numbers.isna().any() or (numbers % 1 != 0).any():
        return None
    return numbers.astype("int64")


def _label_names(labels: "pd.Series[Any]") -> list[str]:
    ids = _as_ids(labels)
    if ids is None:
        return sorted(labels.astype(str).unique())
    return [str(label) for label in sorted(ids.unique())]


def _encode(frame: pd.DataFrame, split: str, label_names: Sequence[str]) -> pd.DataFrame:
    """Replace labels by their ids."""
    id_by_name = {name: index for index, name in enumerate(label_names)}
    ids = _as_ids(frame["label"])
    as_text = frame["label"].astype(str) if ids is None else ids.astype(str)
    labels = as_text.map(id_by_name)
    if labels.isna().all() and ids is not None and ids.between(0, len(label_names) - 1).all():
        labels = ids
    if labels.isna().any():
        unknown = sorted(as_text[labels.isna()].unique())
        raise PipelineError(
            f"label {unknown[0]!r} occurs in {split} ({int((as_text == unknown[0]).sum())} rows) "
            f"but not in train; the labels are: {', '.join(label_names)}."
        )
    return frame.assign(label=labels.astype("int64"))


def _check_two_classes(label_names: Sequence[str], name: str) -> None:
    if len(label_names) < 2:
        raise PipelineError(
            f"dataset {name}: train has one class only ({label_names[0]}); a classifier needs two."
        )


def _check_labels(
    frames: Mapping[str, pd.DataFrame], label_names: Sequence[str], name: str
) -> None:
    """Refuse labels that train does not have."""
    trained = set(frames[TRAIN]["label"])
    _check_two_classes([label_names[label] for label in trained], name)
    for split, frame in frames.items():
        untrained = sorted(set(frame["label"]) - trained)
        if untrained:
            rows = int((frame["label"] == untrained[0]).sum())
            raise PipelineError(
                f"dataset {name}: label {label_names[untrained[0]]!r} occurs in {split} "
                f"({rows} rows) but not in train; train has: "
                f"{', '.join(label_names[label] for label in sorted(trained))}."
            )


def _split_off(
    rows: datasets.Dataset, split: str, label_names: Sequence[str], config: DatasetConfig
) -> tuple[datasets.Dataset, datasets.Dataset]:
    share = config.test_size if split == TEST else config.validation_size
    by_class = rows.cast_column("label", datasets.ClassLabel(names=list(label_names)))
    try:
        parts = by_class.train_test_split(
            test_size=share, stratify_by_column="label", seed=config.split_seed
        )
    except ValueError as error:
        raise PipelineError(
            f"dataset {config.name}: {len(rows)} rows of train are too few to split off {split} "
            f"with every class in both (dataset.{split}_size={share}): {error}"
        ) from error
    return tuple(parts[part].flatten_indices().cast(FEATURES) for part in ("train", "test"))


def _limited(rows: datasets.Dataset, split: str, config: DatasetConfig) -> datasets.Dataset:
    limit = config.max_train_samples if split == TRAIN else config.max_eval_samples
    if limit is None or limit >= len(rows):
        return rows
    return rows.shuffle(seed=config.split_seed).select(range(limit)).flatten_indices()
