"""Check texts and pairs of texts that come from outside."""

import re
from collections.abc import Sequence

from pipeline.errors import PipelineError

# A model reads the first few hundred characters; more is a file that was taken for a text.
MAX_TEXT_CHARACTERS = 100_000
MAX_TEXTS = 10_000  # of one request
PAIR_SEPARATOR = "\t"
QUOTED_CHARACTERS = 40  # of a text, in an error
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_text(text: object, name: str) -> None:
    """Refuse a value that a classifier cannot read as text.

    Args:
        text: value to check.
        name: name of the value in the error.

    Raises:
        PipelineError: not a string, empty, too long, or not UTF-8: bytes that a file could not
            decode, or half a character (such bytes on the command line).
    """
    if not isinstance(text, str | bytes):
        raise PipelineError(f"{name} is {type(text).__name__}, not text.")
    if isinstance(text, bytes) or _SURROGATE.search(text):
        raise PipelineError(f"{name} is not UTF-8.")
    if not text.strip():
        raise PipelineError(f"{name} is empty.")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise PipelineError(
            f"{name} has {len(text):,} characters; at most {MAX_TEXT_CHARACTERS:,} are accepted."
        )


def check_texts(texts: Sequence[object]) -> None:
    """Refuse a request that a classifier cannot answer.

    Args:
        texts: values of the request; any number up to MAX_TEXTS.

    Raises:
        PipelineError: there are too many, or check_text refuses one.
    """
    if len(texts) > MAX_TEXTS:
        raise PipelineError(
            f"{len(texts):,} texts in one request; at most {MAX_TEXTS:,} are accepted."
        )
    for place, text in enumerate(texts, start=1):
        check_text(text, f"text {place}")


def split_pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Split texts of pairs at their tab.

    Args:
        texts: both texts of each pair, with a tab between them.

    Raises:
        PipelineError: a text has no tab.
    """
    pairs = []
    for text in texts:
        first, tab, second = text.partition(PAIR_SEPARATOR)
        if not tab:
            raise PipelineError(
                f"{text[:QUOTED_CHARACTERS]!r} is one text; this model takes pairs, "
                "with a tab between their texts."
            )
        pairs.append((first, second))
    return pairs
