"""Split off what is not given, and keep so many rows: always the same ones for a seed."""

import logging
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from math import ceil

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.data.mapped import on_disk
from pipeline.data.rows import listed
from pipeline.data.same_texts import hashed

log = logging.getLogger(__name__)
LISTED_CLASSES = 5
TAKEN_ROWS = 10_000  # at a time: they are in memory until they are on disk


def split_off(table: pa.Table, share: float, seed: int) -> tuple[pa.Table, pa.Table]:
    """Split a table in two, each with its share of every class.

    Rows with the same text (folded) stay together: a model would know the answers of those that it
    was trained on. A class of one text stays in the first part.

    Args:
        table: rows with `text` and `label` (int).
        share: share of the texts of classes with two or more that the second part gets, above 0 and
            below 1; it gets more where that is less than one text of each class.
        seed: seed of the choice and of the order.

    Returns:
        The rest, and the part that was split off. Where all texts differ, they are those that the
        datasets library's train_test_split gives, which takes a minute for a million rows (5.0.1).

    Raises:
        ValueError: there are too few rows for one of each class in both parts.
    """
    from datasets.utils.stratify import stratified_shuffle_split_generate_indices

    labels, groups = _labels(table), _groups(table)
    firsts = np.unique(groups, return_index=True)[1]
    alone = np.bincount(labels[firsts])[labels[firsts]] == 1
    chosen = np.flatnonzero(~alone)
    classes = len(np.unique(labels[firsts[chosen]]))
    count = max(ceil(share * len(chosen)), classes)
    rest, part = next(
        stratified_shuffle_split_generate_indices(
            labels[firsts[chosen]], len(chosen) - count, count, rng=np.random.default_rng(seed)
        )
    )
    rest = np.concatenate([chosen[rest], np.flatnonzero(alone)])
    return _taken(table, _rows_of(rest, groups)), _taken(table, _rows_of(chosen[part], groups))


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


def warn_of_rare(counts: Sequence[tuple[str, int]], missing: Sequence[str]) -> None:
    """Name the classes with too few rows to have one in each split.

    Args:
        counts: label and number of rows of each class in train.
        missing: splits that are to be split off.
    """
    rare = [label for label, rows in counts if rows <= len(missing)]
    if missing and rare:
        more = f" and {len(rare) - LISTED_CLASSES} more" if len(rare) > LISTED_CLASSES else ""
        log.warning(
            "train has too few rows of %s%s to give one each to %s, which may then not measure "
            "these classes",
            listed(rare[:LISTED_CLASSES]),
            more,
            " and ".join(missing),
        )


def _groups(table: pa.Table) -> np.ndarray:
    """Number the texts of a table in the order of their first row; the same texts have one number.

    Returns:
        The number of each row's text (rows,).
    """
    batches = table.select(["text"]).to_batches(max_chunksize=TAKEN_ROWS)
    hashes = hashed(batch["text"] for batch in batches)
    groups: np.ndarray = pd.factorize(hashes)[0]
    return groups


def _rows_of(chosen: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the rows of some groups, in their order.

    Args:
        chosen: numbers of groups.
        groups: number of each row's group (rows,).
    """
    places = np.full(groups.max() + 1, -1)
    places[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(places[groups] >= 0)
    return rows[np.argsort(places[groups[rows]], kind="stable")]


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
