"""Split off what is not given, and keep so many rows: always the same ones for a seed."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from math import ceil

import numpy as np
import pyarrow as pa

from pipeline.data.mapped import on_disk
from pipeline.data.rows import listed
from pipeline.errors import PipelineError

LISTED_CLASSES = 5
TAKEN_ROWS = 10_000  # at a time: they are in memory until they are on disk


def split_off(table: pa.Table, share: float, seed: int) -> tuple[pa.Table, pa.Table]:
    """Split a table in two, each with its share of every class.

    Args:
        table: rows with `label` (int).
        share: share of the rows that the second part gets, above 0 and below 1.
        seed: seed of the choice and of the order.

    Returns:
        The rest, and the part that was split off. They are those that the datasets library's
        train_test_split gives, which takes a minute for a million rows (5.0.1).

    Raises:
        ValueError: a part has no row of some class.
    """
    from datasets.utils.stratify import stratified_shuffle_split_generate_indices

    count = ceil(share * len(table))
    first, second = next(
        stratified_shuffle_split_generate_indices(
            _labels(table), len(table) - count, count, rng=np.random.default_rng(seed)
        )
    )
    return _taken(table, first), _taken(table, second)


def first_of_shuffle(table: pa.Table, limit: int, seed: int) -> pa.Table:
    """Keep the first rows of a shuffle.

    Args:
        table: rows.
        limit: number of rows to keep.
        seed: seed of the shuffle, which is that of the datasets library.
    """
    return _taken(table, np.random.default_rng(seed).permutation(len(table))[:limit])


def first_with_each_class(table: pa.Table, limit: int, seed: int) -> pa.Table:
    """Keep the first rows of a shuffle, and the first of a class that they lack for a later one.

    Args:
        table: rows with `label` (int).
        limit: number of rows to keep, at least that of the classes.
        seed: seed of the shuffle, which is that of the datasets library.
    """
    order = np.random.default_rng(seed).permutation(len(table))
    labels = _labels(table)[order]
    classes, first_places = np.unique(labels, return_index=True)
    counts = np.bincount(labels[:limit], minlength=classes.max() + 1)
    kept = list(range(limit))
    for missing in first_places[counts[classes] == 0]:
        last = next(place for place in reversed(kept) if counts[labels[place]] > 1)
        counts[labels[last]] -= 1
        counts[labels[missing]] += 1
        kept[kept.index(last)] = int(missing)
    return _taken(table, order[np.sort(kept)])


def check_split(counts: Sequence[tuple[str, int]], missing: Sequence[str], name: str) -> None:
    """Refuse classes with too few rows to have one in each split.

    Args:
        counts: label and number of rows of each class in train.
        missing: splits that are to be split off.
        name: name of the corpus.

    Raises:
        PipelineError: the line names the classes.
    """
    small = [(label, rows) for label, rows in counts if rows <= len(missing)]
    if missing and small:
        labels = listed(label for label, _ in small[:LISTED_CLASSES])
        more = f" and {len(small) - LISTED_CLASSES} more" if len(small) > LISTED_CLASSES else ""
        raise PipelineError(
            f"dataset {name}: train has {small[0][1]} of label {small[0][0]!r}, too few to split "
            f"off {' and '.join(missing)} with every class in each; {len(missing) + 1} or more are "
            f"needed of: {labels}{more}. Give a {missing[0]} file, or leave these rows out."
        )


def _labels(table: pa.Table) -> np.ndarray:
    return table["label"].to_numpy()


def _taken(table: pa.Table, places: np.ndarray) -> pa.Table:
    batches = table.to_batches()
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    parts = np.split(places, range(TAKEN_ROWS, len(places), TAKEN_ROWS))
    rows = chain.from_iterable(_rows_at(batches, starts, part) for part in parts)
    return on_disk(rows, table.schema)


def _rows_at(
    batches: Sequence[pa.RecordBatch], starts: np.ndarray, places: np.ndarray
) -> Iterator[pa.RecordBatch]:
    """Take rows by their place in a table, from those batches alone that have them.

    Table.take of pyarrow 25 puts all texts of the table together first, in memory, and fails if
    they are longer than 2 GiB.

    Args:
        batches: rows of the table.
        starts: place of the first row of each batch, and the number of all rows.
        places: places of the rows to take.

    Yields:
        The rows in the order of places.
    """
    order = np.argsort(places)
    inner = np.searchsorted(places[order], starts)
    found = [
        batches[number].take(places[order][first:last] - starts[number])
        for number, (first, last) in enumerate(pairwise(inner))
        if first < last
    ]
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    if found:
        yield from pa.Table.from_batches(found).take(back).combine_chunks().to_batches()
