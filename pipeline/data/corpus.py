"""DatasetConfig to a Corpus of three labelled splits, and the Corpus to tokens."""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pandas as pd
from filelock import FileLock

from pipeline.config.schema import DatasetConfig
from pipeline.data.sources import read_sources
from pipeline.errors import PipelineError
from pipeline.inference.classifier import PAIR_SEPARATOR, split_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Collate = Callable[[list[dict[str, Any]]], Mapping[str, Any]]
SPLITS = ("train", "validation", "test")
SHOWN = 5  # rows, labels or columns that an error names before it says "and n more"


@dataclass(frozen=True)
class Corpus:
    """Labelled texts.

    Args:
        name: short name.
        label_names: classes in the order of their ids.
        splits: train, validation and test, each with `text` (str; of a pair both texts, with a tab between them) and `label`
            (int, index into label_names).
        source: where the texts came from, for the record.
    """

    name: str
    label_names: tuple[str, ...]
    splits: Mapping[str, datasets.Dataset]
    source: str

    def digest(self, split: str) -> str:
        """Return the first 16 hex digits of the SHA-256 over the split's texts and labels in order."""
        sha = hashlib.sha256()
        for batch in self.splits[split].iter(batch_size=1000):
            for text, label in zip(batch["text"], batch["label"], strict=True):
                sha.update(f"{label}\t{text}\n".encode())
        return sha.hexdigest()[:16]


def load_corpus(config: DatasetConfig) -> Corpus:
    """Read, check and split the labelled texts.

    Rows of a split that is not given are split off from train: stratified by label, with split_seed.

    Args:
        config: the dataset group.

    Returns:
        Three non-empty splits over the same classes.

    Raises:
        PipelineError: a file, split or column is missing, a row is bad (with on_bad_rows=error), a split is empty, there
            is one class only, or validation or test has a label that train does not have.
    """
    sources = read_sources(config)
    frames = {split: _clean(frame, split, config) for split, frame in sources.frames.items()}
    label_names = tuple(
        config.label_names or sources.label_names or _names_in(frames["train"]["label"])
    )
    if len(label_names) < 2:
        raise PipelineError(
            f"dataset {config.name}: train has one class only ({label_names[0]}); a classifier needs two."
        )
    frames = {split: _encode(frame, split, label_names) for split, frame in frames.items()}
    seen = set(frames["train"]["label"])
    if len(seen) < 2:
        raise PipelineError(
            f"dataset {config.name}: train has one class only ({label_names[seen.pop()]}); a classifier needs two."
        )
    for split, frame in frames.items():
        unseen = sorted(set(frame["label"]) - seen)
        if unseen:
            rows = int((frame["label"] == unseen[0]).sum())
            raise PipelineError(
                f"dataset {config.name}: label {label_names[unseen[0]]!r} occurs in {split} ({rows} rows) but not in train; "
                f"train has: {', '.join(label_names[i] for i in sorted(seen))}."
            )
    splits = {split: _dataset(frame) for split, frame in frames.items()}
    for split, share in (("test", config.test_size), ("validation", config.validation_size)):
        if split not in splits:
            splits["train"], splits[split] = _split_off(
                splits["train"], split, share, label_names, config
            )
    for split in SPLITS:
        limit = config.max_train_samples if split == "train" else config.max_eval_samples
        if limit is not None and limit < len(splits[split]):
            splits[split] = (
                splits[split].shuffle(seed=config.split_seed).select(range(limit)).flatten_indices()
            )
    return Corpus(
        config.name, label_names, {split: splits[split] for split in SPLITS}, sources.origin
    )


def tokenize(
    corpus: Corpus, tokenizer: "PreTrainedTokenizerFast", config: DatasetConfig
) -> Mapping[str, datasets.Dataset]:
    """Turn every split into token ids, cut at max_length; padding is the collator's.

    Args:
        corpus: texts and labels.
        tokenizer: of the model that will read them.
        config: for max_length.

    The result is kept beside the Hugging Face datasets (HF_DATASETS_CACHE), by the digests of texts and tokenizer, and mapped
    into memory from there: runs of a sweep, at once or one after another, tokenize a corpus once and share its pages.

    Returns:
        Splits with the tokenizer's columns, `labels` (int), `length` (tokens after the cut) and `num_tokens` (before it).
    """
    folder = _token_cache(corpus, tokenizer, config)
    try:
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                unfinished = folder.with_suffix(".part")
                shutil.rmtree(unfinished, ignore_errors=True)
                _encode_splits(corpus, tokenizer, config).save_to_disk(unfinished)
                unfinished.rename(folder)
        return dict(datasets.load_from_disk(str(folder)))
    except OSError:  # a cache that cannot be written is no reason not to train
        return dict(_encode_splits(corpus, tokenizer, config))


def cache_folder() -> Path:
    """Return where what runs share is kept: beside the Hugging Face datasets (HF_DATASETS_CACHE)."""
    root = Path(datasets.config.HF_DATASETS_CACHE) / "int8-text-classifiers"
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
    return root


def _token_cache(
    corpus: Corpus, tokenizer: "PreTrainedTokenizerFast", config: DatasetConfig
) -> Path:
    parts = [
        *(corpus.digest(split) for split in SPLITS),
        tokenizer.backend_tokenizer.to_str(),
        type(tokenizer).__name__,
    ]
    parts += [
        str(config.max_length),
        str(config.text_pair_column is not None),
        ",".join(tokenizer.model_input_names),
        datasets.__version__,
    ]
    return cache_folder() / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _encode_splits(
    corpus: Corpus, tokenizer: "PreTrainedTokenizerFast", config: DatasetConfig
) -> datasets.DatasetDict:
    def encode(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        # Most texts fit: one pass without truncation gives both the tokens and the true length.
        texts = (
            split_pairs(batch["text"])
            if config.text_pair_column
            else [(text,) for text in batch["text"]]
        )
        encoded = tokenizer(*map(list, zip(*texts, strict=True)), truncation=False, verbose=False)
        num_tokens = [len(ids) for ids in encoded["input_ids"]]
        for row, count in enumerate(num_tokens):
            if count > config.max_length:
                cut = tokenizer(*texts[row], truncation=True, max_length=config.max_length)
                for column in encoded:
                    encoded[column][row] = cut[column]
        lengths = [min(count, config.max_length) for count in num_tokens]
        return {**encoded, "labels": batch["label"], "length": lengths, "num_tokens": num_tokens}

    return datasets.DatasetDict(
        {
            split: rows.map(
                encode, batched=True, remove_columns=["text", "label"], desc=f"tokenize {split}"
            )
            for split, rows in corpus.splits.items()
        }
    )


def collator(tokenizer: "PreTrainedTokenizerFast", config: DatasetConfig) -> Collate:
    """Build the function that pads a list of rows to tensors: to the longest of them, or every row to max_length."""
    from transformers import DataCollatorWithPadding

    return DataCollatorWithPadding(tokenizer, padding=config.padding, max_length=config.max_length)


def _clean(frame: pd.DataFrame, split: str, config: DatasetConfig) -> pd.DataFrame:
    for key in ("text_column", "text_pair_column", "label_column"):
        column = getattr(config, key)
        if column is not None and column not in frame.columns:
            raise PipelineError(
                f"dataset.{key}={column!r} is not in {split}; its columns are: {', '.join(map(str, frame.columns))}."
            )
    rows = pd.DataFrame({"text": frame[config.text_column], "label": frame[config.label_column]})
    bad_text = np.array(
        [not isinstance(text, str) or not text.strip() for text in rows["text"]], dtype=bool
    )
    if config.text_pair_column is not None:
        seconds = frame[config.text_pair_column]
        bad_text |= [not isinstance(text, str) or not text.strip() for text in seconds]
        rows["text"] = [
            _pair(first, second) for first, second in zip(rows["text"], seconds, strict=True)
        ]
    bad_label = [
        not pd.api.types.is_scalar(label) or pd.isna(label) or not str(label).strip()
        for label in rows["label"]
    ]
    bad = bad_text | np.array(bad_label, dtype=bool)
    if bad.any() and config.on_bad_rows == "error":
        numbers = [str(row + 1) for row in np.flatnonzero(bad)]
        more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
        raise PipelineError(
            f"dataset {config.name}: {split} has {len(numbers)} rows with an empty or non-text {config.text_column!r} or an "
            f"empty {config.label_column!r}: row {', '.join(numbers[:SHOWN])}{more} (the first row of data is 1); "
            "mend them or set dataset.on_bad_rows=drop."
        )
    rows = rows[~bad].reset_index(drop=True)
    if rows.empty:
        raise PipelineError(
            f"dataset {config.name}: {split} is empty; it needs at least one row with text and label."
        )
    return rows


def _pair(*texts: object) -> str:
    return PAIR_SEPARATOR.join(str(text).replace(PAIR_SEPARATOR, " ") for text in texts)


def _as_ids(labels: "pd.Series[Any]") -> "pd.Series[Any] | None":
    """Labels as integers if every one is a whole number (or its spelling), else None."""
    numbers = pd.to_numeric(labels, errors="coerce")
    if numbers.isna().any() or (numbers % 1 != 0).any():
        return None
    return numbers.astype("int64")


def _names_in(labels: "pd.Series[Any]") -> list[str]:
    ids = _as_ids(labels)
    return (
        [str(i) for i in sorted(ids.unique())]
        if ids is not None
        else sorted(labels.astype(str).unique())
    )


def _encode(frame: pd.DataFrame, split: str, label_names: tuple[str, ...]) -> pd.DataFrame:
    names = {name: index for index, name in enumerate(label_names)}
    ids = _as_ids(frame["label"])
    as_text = frame["label"].astype(str) if ids is None else ids.astype(str)
    labels = as_text.map(names)
    if labels.isna().all() and ids is not None and ids.between(0, len(label_names) - 1).all():
        labels = ids
    if labels.isna().any():
        unknown = sorted(as_text[labels.isna()].unique())
        raise PipelineError(
            f"label {unknown[0]!r} occurs in {split} ({int((as_text == unknown[0]).sum())} rows) but not in train; "
            f"the labels are: {', '.join(label_names)}."
        )
    return frame.assign(label=labels.astype("int64"))


def _dataset(frame: pd.DataFrame) -> datasets.Dataset:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.Value("int64")}
    )
    return datasets.Dataset.from_pandas(
        frame[["text", "label"]], features=features, preserve_index=False
    )


def _split_off(
    rows: datasets.Dataset,
    split: str,
    share: float,
    label_names: tuple[str, ...],
    config: DatasetConfig,
) -> tuple[datasets.Dataset, datasets.Dataset]:
    by_class = rows.cast_column("label", datasets.ClassLabel(names=list(label_names)))
    try:
        parts = by_class.train_test_split(
            test_size=share, stratify_by_column="label", seed=config.split_seed
        )
    except ValueError as error:
        raise PipelineError(
            f"dataset {config.name}: {len(rows)} rows of train are too few to split off {split} with every class in both "
            f"(dataset.{split}_size={share}): {error}"
        ) from error
    plain = datasets.Features({"text": datasets.Value("string"), "label": datasets.Value("int64")})
    return tuple(parts[part].flatten_indices().cast(plain) for part in ("train", "test"))
