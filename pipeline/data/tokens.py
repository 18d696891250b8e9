"""Turn a corpus into token ids, once for all runs, and pad rows of them to batches."""

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np

from pipeline.config.identity import tokens_key
from pipeline.config.schema import DatasetConfig
from pipeline.console.command_line import counter
from pipeline.data.cache import cached
from pipeline.data.corpus import Corpus
from pipeline.inference.texts import split_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Tokens = Mapping[str, datasets.Dataset]
"""Tokenized splits by name, from tokenize()."""

Collate = Callable[[list[dict[str, Any]]], Mapping[str, Any]]
"""Rows of a tokenized split to tensors, (rows, tokens) after padding."""

INPUT_IDS = "input_ids"
# Columns that tokenize() adds for us; a model takes the others.
LABELS = "labels"
LENGTH = "length"
NUM_TOKENS = "num_tokens"
ROWS_AT_A_TIME = 10_000
PARALLELISM = "TOKENIZERS_PARALLELISM"  # read by tokenizers at every call


def tokenize(corpus: Corpus, tokenizer: "PreTrainedTokenizerFast", config: DatasetConfig) -> Tokens:
    """Turn every split into token ids, cut at max_length; the collator pads them.

    The result is kept beside the Hugging Face datasets (HF_DATASETS_CACHE), by the digests of
    texts and tokenizer, and mapped into memory from there: the runs of a sweep, at once or one
    after another, tokenize a corpus once and share its pages.

    Args:
        corpus: texts and labels.
        tokenizer: tokenizer of the model that will read them.
        config: the dataset group, for max_length and pairs.

    Returns:
        Splits with the tokenizer's columns, `labels` (int), `length` (tokens after the cut) and
        `num_tokens` (tokens before it).
    """
    key = tokens_key(config, corpus.digests, _answers_of(tokenizer))

    def write(folder: Path) -> None:
        _encode_splits(corpus, tokenizer, config).save_to_disk(folder)

    return cached(f"tokens-{key}", write, partial(_read, set(corpus.splits)))


def integers(rows: datasets.Dataset, column: str) -> np.ndarray:
    """Return a column of whole numbers, (rows,): at once, where rows[column] goes row by row.

    Args:
        rows: a split of a corpus or of its tokens.
        column: name of the column.
    """
    return rows.select_columns([column]).with_format("numpy")[:][column]


def token_ids(rows: datasets.Dataset) -> np.ndarray:
    """List the ids that occur in a tokenized split, in rising order, (ids,) int64.

    Args:
        rows: a split from tokenize.
    """
    found = np.empty(0, dtype=np.int64)
    for batch in rows.select_columns([INPUT_IDS]).with_format("arrow").iter(ROWS_AT_A_TIME):
        ids = batch[INPUT_IDS].combine_chunks().flatten().to_numpy()
        found = np.union1d(found, ids)
    return found


def highest_id(tokens: Tokens) -> int:
    """Return the highest token id of all splits."""
    return max(int(token_ids(rows)[-1]) for rows in tokens.values())


def collator(tokenizer: "PreTrainedTokenizerFast", config: DatasetConfig) -> Collate:
    """Build the function that pads rows to tensors.

    Args:
        tokenizer: tokenizer of the model, for its padding token.
        config: the dataset group; padding=longest pads to the longest row, max_length to that.
    """
    from transformers import DataCollatorWithPadding

    return DataCollatorWithPadding(tokenizer, padding=config.padding, max_length=config.max_length)


def _answers_of(tokenizer: "PreTrainedTokenizerFast") -> list[str]:
    """List all that a tokenizer's answers depend on."""
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    for name in ("truncation", "padding"):  # of the last call, whatever it was
        del stored[name]
    return [
        type(tokenizer).__name__,
        json.dumps(stored),
        tokenizer.truncation_side,
        *tokenizer.model_input_names,
    ]


def _read(names: Set[str], folder: Path) -> Tokens:
    """Load tokens, and touch the last row of each split: a file that was cut is told here."""
    splits = datasets.load_from_disk(str(folder))
    if set(splits) != names:
        raise ValueError(f"{folder} holds {', '.join(splits)}")
    for rows in splits.values():
        _ = rows[-1]
    return dict(splits)


def _encode_splits(
    corpus: Corpus, tokenizer: "PreTrainedTokenizerFast", config: DatasetConfig
) -> datasets.DatasetDict:
    encoded = {}
    for split, rows in corpus.splits.items():
        with _all_threads(), counter(f"tokenize {split}", "text", len(rows)) as progress:

            def encode(batch: dict[str, list[Any]], passed: Any = progress) -> dict[str, list[Any]]:
                passed.update(len(batch["text"]))
                return _encode(batch, tokenizer, config)

            columns = ["text", "label"]
            # The library would hash the function for a fingerprint, and cannot hash the counter.
            encoded[split] = rows.map(
                encode, batched=True, remove_columns=columns, new_fingerprint=uuid.uuid4().hex
            )
    return datasets.DatasetDict(encoded)


@contextlib.contextmanager
def _all_threads() -> Iterator[None]:
    """Tokenize on all CPUs: a run switches that off for the data loader, whose workers fork."""
    before = os.environ.get(PARALLELISM)
    os.environ[PARALLELISM] = "true"
    try:
        yield
    finally:
        os.environ.pop(PARALLELISM)
        os.environ.update({} if before is None else {PARALLELISM: before})


def _encode(
    batch: dict[str, list[Any]], tokenizer: "PreTrainedTokenizerFast", config: DatasetConfig
) -> dict[str, list[Any]]:
    # Most texts fit: one pass without truncation gives both the tokens and the true length.
    pairs = config.text_pair_column is not None
    texts = split_pairs(batch["text"]) if pairs else [(text,) for text in batch["text"]]
    encoded = tokenizer(*map(list, zip(*texts, strict=True)), truncation=False, verbose=False)
    num_tokens = [len(ids) for ids in encoded[INPUT_IDS]]
    for row, count in enumerate(num_tokens):
        if count > config.max_length:
            cut = tokenizer(*texts[row], truncation=True, max_length=config.max_length)
            for column in encoded:
                encoded[column][row] = cut[column]
    lengths = [min(count, config.max_length) for count in num_tokens]
    return {**encoded, LABELS: batch["label"], LENGTH: lengths, NUM_TOKENS: num_tokens}
