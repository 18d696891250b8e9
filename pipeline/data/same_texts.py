"""Tell which texts are the same: those that differ in case and spaces only."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def folded(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write texts in lower case, with one space between words: how texts are compared."""
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.utf8_lower(texts)))
    return pc.binary_join(words, " ")


def hashed(parts: Iterable[pa.ChunkedArray]) -> np.ndarray:
    """Hash texts to 64 bits each, (texts,); the same texts have the same hash.

    Five million of them are 40 MB.

    Args:
        parts: the texts, as many at a time as may be in memory.
    """
    return np.concatenate(
        [
            pd.util.hash_array(folded(part).to_numpy(zero_copy_only=False), categorize=False)
            for part in parts
        ]
    )
