"""Make texts for a teacher to answer out of those of a corpus: halves of two of them, put together.

A teacher that knows its training texts by heart answers them with hardly more than their labels. A
student learns more from answers to texts that neither of them has seen, for which nobody has to
write a label (a transfer set: Hinton et al., arXiv:1503.02531, section 1; made out of parts of the
training texts: Tang et al., arXiv:1903.12136, section 3.2).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.corpus import Corpus
from pipeline.names import TRAIN

if TYPE_CHECKING:
    import datasets

TRANSFER = "transfer"  # the split of these texts


def transfer_corpus(corpus: Corpus, count: int, seed: int) -> Corpus:
    """Make a corpus of texts that are halves of training texts, put together.

    Args:
        corpus: labelled texts, no pairs.
        count: number of texts to make.
        seed: seed of the draws.

    Returns:
        A corpus whose one split is TRANSFER; each label is 0, for the teacher to replace.
    """
    import datasets  # takes a second to import

    texts = list(_recombined(corpus.splits[TRAIN], count, seed))
    rows = datasets.Dataset.from_dict({"text": texts, "label": [0] * count})
    return replace(corpus, splits={TRANSFER: rows})


def _recombined(train: "datasets.Dataset", count: int, seed: int) -> Iterator[str]:
    draw = np.random.default_rng(seed)
    rows, sides = draw.integers(len(train), size=(count, 2)), draw.integers(2, size=(count, 2))
    drawn = train[rows.ravel()]["text"]  # not all texts: they may not fit into memory
    pairs = np.array(drawn, dtype=object).reshape(rows.shape)
    for pair, side in zip(pairs, sides, strict=True):
        halves = [_halves(text)[end] for text, end in zip(pair, side, strict=True)]
        yield " ".join(halves).strip()


def _halves(text: str) -> tuple[str, str]:
    """Cut a text in the middle of its words, or of its characters where it has no two words."""
    words = text.split()
    if len(words) > 1:
        middle = len(words) // 2
        return " ".join(words[:middle]), " ".join(words[middle:])
    middle = (len(text) + 1) // 2
    return text[:middle], text[middle:]
