"""Classify texts with a deployed model directory: its session with its tokenizer."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from pipeline.errors import PipelineError
from pipeline.inference.session import first_line, open_session
from pipeline.inference.texts import split_pairs

TOKENIZER_FILE = "tokenizer.json"
MODEL_CONFIG_FILE = "config.json"
PAIRS_KEY = "text_pair"  # in config.json: the model classifies pairs of texts
BATCH_SIZE = 32
WINDOW = 256 * BATCH_SIZE  # texts of which those of one length are batched together


class TextClassifier:
    """Turn texts into probabilities with a deployed model and its tokenizer.

    A model of pairs takes both texts of a pair as one, with a tab between them.

    Args:
        directory: directory that an export wrote: the model, tokenizer.json (which cuts texts as
            in training) and config.json.
        threads: threads of one call; 0 takes as many as this process has CPUs.

    Raises:
        PipelineError: something is missing or damaged, or the directory holds a pickle.

    Example:
        >>> classifier = TextClassifier(Path("onnx_int8"))
        >>> probabilities(classifier.logits(["what a day"])).round(2)
        array([[0.08, 0.92]], dtype=float32)
    """

    def __init__(self, directory: Path, threads: int = 0) -> None:
        self._session = open_session(directory, threads)
        try:
            config = json.loads((directory / MODEL_CONFIG_FILE).read_text(encoding="utf-8"))
            names = config["id2label"]
            self.label_names = tuple(str(names[str(index)]) for index in range(len(names)))
            self._pad_token_id = int(config["pad_token_id"])
            self._pairs = bool(config.get(PAIRS_KEY))
            self._tokenizer = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
            self._tokenizer.no_padding()
        except Exception as error:  # tokenizers 0.20 raises a bare Exception
            raise PipelineError(
                f"{directory} lacks a readable {MODEL_CONFIG_FILE} with labels or "
                f"{TOKENIZER_FILE}: {first_line(error)}"
            ) from error

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Score texts.

        Args:
            texts: any number of texts; those from outside go through check_text first.

        Returns:
            Logits (texts, num_labels), float32. A batch holds texts of one length only: padding
            would change the order of sums, and with it, now and then, the rounding to INT8.
        """
        inputs = split_pairs(texts) if self._pairs else list(texts)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(inputs)]
        logits = np.empty((len(tokens), len(self.label_names)), np.float32)
        for rows in _batches(tokens):
            logits[rows] = self._session(*pad([tokens[row] for row in rows], self._pad_token_id))
        return logits

    def stream(self, texts: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Score texts window by window, so that they need not fit in memory.

        Args:
            texts: texts, read as needed.

        Yields:
            Each text with its probabilities (num_labels,), in the order of texts.
        """
        remaining = iter(texts)
        while window := list(islice(remaining, WINDOW)):
            yield from zip(window, probabilities(self.logits(window)), strict=True)


def _batches(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of texts of the same length, up to BATCH_SIZE at a time."""
    by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    for _, group in groupby(by_length, key=lambda row: len(tokens[row])):
        while batch := list(islice(group, BATCH_SIZE)):
            yield batch


def pad(rows: Sequence[Sequence[int]], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn the token ids of several texts into one batch.

    Args:
        rows: token ids of each text.
        pad_token_id: id that fills the shorter texts.

    Returns:
        input_ids and attention_mask, both (rows, longest row), int64.
    """
    ids = np.full((len(rows), max(map(len, rows))), pad_token_id, np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
