"""Classify texts with a deployed model directory: its session with its tokenizer."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipeline.errors import PipelineError, first_line
from pipeline.inference.session import open_session
from pipeline.inference.texts import PAIR_SEPARATOR, split_pairs

TOKENIZER_FILE = "tokenizer.json"
MODEL_CONFIG_FILE = "config.json"
PADDING_KEY = "pad_token_id"
PAIRS_KEY = "text_pair"  # in config.json: the model classifies pairs of texts
BATCH_SIZE = 32
WINDOW = 256 * BATCH_SIZE  # texts of which those of one length are batched together
DECIMALS = 6  # of a score that is written for people or into a table
# Texts that are tokenized at once: tokenizers keeps what it cuts off, some 100 bytes a token.
TOKENIZED_AT_ONCE = 16

Scores = list[tuple[list[int], Future[np.ndarray]]]
"""Places of the texts of each batch, and their logits (batch, num_labels) to come."""

Batch = tuple[list[int], np.ndarray]
"""Places of the texts of a batch, and their logits (batch, num_labels), float32."""

Step = Callable[[], Batch]
"""Scores a batch."""


class TextClassifier:
    """Turn texts into probabilities with a deployed model and its tokenizer.

    A model of pairs takes both texts of a pair as one, with a tab between them.

    Args:
        directory: directory that an export wrote: the model, tokenizer.json (which cuts texts as
            in training) and config.json.
        threads: threads of one call; 0 takes as many as this process has CPUs.
        calls: calls that are made at once, from threads of the caller's or from stream().

    Attributes:
        label_names: classes in the order of their ids.
        takes_pairs: whether it is a model of pairs.

    Raises:
        PipelineError: something is missing or damaged, the files are not of one model, or the
            directory holds a pickle.

    Example:
        >>> classifier = TextClassifier(Path("onnx_int8"))
        >>> probabilities(classifier.logits(["what a day"])).round(2)
        array([[0.08, 0.92]], dtype=float32)
    """

    def __init__(self, directory: Path, threads: int = 0, calls: int = 1) -> None:
        self._session = open_session(directory, threads, calls)
        self._calls = calls
        config = read_config(directory)
        self.label_names = _label_names(config, directory / MODEL_CONFIG_FILE)
        self._pad_token_id = pad_token_id(config)
        self.takes_pairs = bool(config.get(PAIRS_KEY))
        self._tokenizer = read_tokenizer(directory)
        self._check(directory)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Score texts.

        Args:
            texts: any number of texts; those from outside go through check_text first.

        Returns:
            Logits (texts, num_labels), float32.
        """
        logits = np.empty((len(texts), len(self.label_names)), np.float32)
        for rows, of_batch in self.batches(texts):
            logits[rows] = of_batch
        return logits

    def batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Score texts batch by batch, so that a caller can stop in between.

        A batch holds texts of one length only: padding would change the order of sums, and with
        it, now and then, the rounding to INT8.

        Args:
            texts: as for logits.

        Yields:
            Places of the batch's texts, and their logits (batch, num_labels), float32. Both are
            empty while texts are tokenized.
        """
        for step in self.steps(texts):
            yield step()

    def steps(self, texts: Sequence[str]) -> Iterator[Step]:
        """Divide the work on texts into calls, which threads may make at once and in any order.

        Args:
            texts: as for logits.

        Yields:
            For each batch, a call that scores it, as batches() yields it. Between two of them only
            a few texts are tokenized.
        """
        nothing: Batch = [], np.empty((0, len(self.label_names)), np.float32)
        inputs = split_pairs(texts) if self.takes_pairs else list(texts)
        tokens: list[list[int]] = []
        for start in range(0, len(inputs), TOKENIZED_AT_ONCE):
            tokens += self._tokens(inputs, start)
            yield lambda: nothing

        def score(rows: list[int]) -> Batch:
            return rows, self._session(*pad([tokens[row] for row in rows], self._pad_token_id))

        for rows in _batches(tokens):
            yield partial(score, rows)

    def answers(self, logits: np.ndarray) -> list[dict[str, Any]]:
        """Write the answers to texts as a server gives them.

        Args:
            logits: logits (texts, num_labels).

        Returns:
            For each text its `label`, that label's `score`, and the `scores` of all classes, which
            sum to 1.
        """
        names = self.label_names
        return [
            {
                "label": names[row.argmax()],
                "score": row.max(),
                "scores": dict(zip(names, row, strict=True)),
            }
            for row in probabilities(logits).astype(float)
        ]

    def _check(self, directory: Path) -> None:
        """Make sure that the files are of one model: with one text, all of them answer."""
        try:
            *_, (_, logits) = self.batches([PAIR_SEPARATOR.join("aa") if self.takes_pairs else "a"])
        except Exception as error:  # onnxruntime's exceptions have no other common base
            raise PipelineError(
                f"the model of {directory} does not take the tokens of its {TOKENIZER_FILE}: "
                f"{first_line(error)}"
            ) from error
        if logits.shape != (1, len(self.label_names)):
            raise PipelineError(
                f"the model of {directory} answers with {logits.shape[-1]} scores, and its "
                f"{MODEL_CONFIG_FILE} has {len(self.label_names)} labels."
            )

    def stream(self, texts: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Score texts window by window, so that they need not fit in memory.

        Its batches are worked on by as many threads as calls, which then turn to the next window
        while the caller does something with the answers to this one.

        Args:
            texts: texts, read as needed.

        Yields:
            Each text with its probabilities (num_labels,), in the order of texts.
        """
        remaining, waiting = iter(texts), deque[tuple[list[str], Scores]]()
        threads, failure = ThreadPoolExecutor(self._calls, "classify"), None
        try:
            while failure is None:
                window, failure = _window(remaining)
                waiting.append((window, self._begin(window, threads)))
                if len(waiting) > 1:
                    yield from self._answered(*waiting.popleft())
                if len(window) < WINDOW:
                    break
            while waiting:
                yield from self._answered(*waiting.popleft())
            if failure is not None:
                raise failure
        finally:
            threads.shutdown(cancel_futures=True)

    def _begin(self, texts: Sequence[str], threads: ThreadPoolExecutor) -> Scores:
        """Tokenize texts, and let threads score them, batch by batch."""
        inputs = split_pairs(texts) if self.takes_pairs else texts
        starts = range(0, len(inputs), TOKENIZED_AT_ONCE)
        parts = threads.map(lambda start: self._tokens(inputs, start), starts)
        tokens = [ids for part in parts for ids in part]

        def score(rows: list[int]) -> np.ndarray:
            return self._session(*pad([tokens[row] for row in rows], self._pad_token_id))

        return [(rows, threads.submit(score, rows)) for rows in _batches(tokens)]

    def _answered(self, texts: Sequence[str], scores: Scores) -> Iterator[tuple[str, np.ndarray]]:
        logits = np.empty((len(texts), len(self.label_names)), np.float32)
        for rows, of_batch in scores:
            logits[rows] = of_batch.result()
        yield from zip(texts, probabilities(logits), strict=True)

    def _tokens(self, inputs: Sequence[Any], start: int) -> list[list[int]]:
        part = list(inputs[start : start + TOKENIZED_AT_ONCE])
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(part)]


def _window(texts: Iterator[str]) -> tuple[list[str], Exception | None]:
    """Read texts up to WINDOW, or up to the one that cannot be read; return why it cannot."""
    window: list[str] = []
    try:
        for text in islice(texts, WINDOW):
            window.append(text)  # extend() need not keep what came before an error
    except Exception as error:
        return window, error
    return window, None


def read_config(directory: Path) -> dict[str, Any]:
    """Read a model's config.json.

    Args:
        directory: directory of the model.

    Raises:
        PipelineError: the file is missing or damaged, or does not say which token fills texts.
    """
    file = directory / MODEL_CONFIG_FILE
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PipelineError(f"{file} is missing or damaged: {_reason(error)}") from error
    if not isinstance(config, dict) or not isinstance(config.get(PADDING_KEY), int):
        raise PipelineError(f"{file} lacks a number {PADDING_KEY}.")
    return config


def pad_token_id(config: Mapping[str, Any]) -> int:
    """Return the id of the token that fills the shorter texts of a batch."""
    return int(config[PADDING_KEY])


def _label_names(config: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    """Return the classes in the order of their ids."""
    names = config.get("id2label")
    if not isinstance(names, dict) or set(names) != {str(index) for index in range(len(names))}:
        raise PipelineError(f"{file} lacks the labels, id2label, from 0 on.")
    return tuple(str(names[str(index)]) for index in range(len(names)))


def read_tokenizer(directory: Path) -> Tokenizer:
    """Read a model's tokenizer.json, which cuts texts as in training and does not pad.

    Args:
        directory: directory of the model.

    Raises:
        PipelineError: the file is missing or damaged.
    """
    file = directory / TOKENIZER_FILE
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers 0.22 raises a bare Exception
        raise PipelineError(f"{file} is missing or damaged: {_reason(error)}") from error
    tokenizer.no_padding()
    return tokenizer


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)


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
