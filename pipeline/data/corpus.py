"""Make a corpus of labelled texts: three splits over the same classes."""

import hashlib
import logging
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.schema import DatasetConfig
from pipeline.data.labels import Classes, classes_of
from pipeline.data.rows import listed, rows_of
from pipeline.data.same_texts import folded
from pipeline.data.sources import read_sources
from pipeline.data.splits import first_of_shuffle, first_with_each_class, split_off, warn_of_rare
from pipeline.errors import PipelineError
from pipeline.names import SPLITS, TEST, TRAIN, UNLABELLED, VALIDATION

# The datasets library takes a second to import; what is wrong with a table is told before.
if TYPE_CHECKING:
    import datasets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """Labelled texts in three splits.

    Args:
        name: short name.
        label_names: classes in the order of their ids.
        splits: train, validation and test, each with `text` (str; both texts of a pair, with a tab
            between them) and `label` (int, index into label_names); with dataset.unlabelled_file
            also unlabelled, whose labels are 0 until a teacher says them.
        source: where the texts come from, for the record.
        commit: commit of the Hub that they are from; None for files.
    """

    name: str
    label_names: tuple[str, ...]
    splits: Mapping[str, "datasets.Dataset"]
    source: str
    commit: str | None = None

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Hash each split's texts and labels in order: 16 hex digits of their SHA-256, by split."""
        return {split: _digest(rows) for split, rows in self.splits.items()}


def load_corpus(config: DatasetConfig) -> Corpus:
    """Read, check and split the labelled texts.

    A split that is not given is taken from train: stratified by label, with split_seed, and with
    all rows of a text in one part.

    Args:
        config: the dataset group.

    Returns:
        Three non-empty splits over the same classes, and unlabelled if there is such a file.

    Raises:
        PipelineError: a file, split or column is missing, a row is bad (with on_bad_rows=error), a
            split is empty, there is one class only, or validation or test has a label that train
            does not have.
    """
    sources = read_sources(config)
    counts = {split: _label_counts(table) for split, table in sources.tables.items()}
    classes = classes_of(list(counts[TRAIN]), config.label_names, sources.class_names)
    _check_classes(counts, classes, config.name)
    warn_of_rare(list(counts[TRAIN].items()), [s for s in SPLITS if s not in counts])
    tables = {split: _with_ids(table, classes) for split, table in sources.tables.items()}
    for split in (TEST, VALIDATION):
        if split not in tables:
            tables[TRAIN], tables[split] = _split_off(tables[TRAIN], split, config)
    if sources.unlabelled is not None:
        tables[UNLABELLED] = _unseen(sources.unlabelled, tables, config.name)
    splits = {
        split: _dataset(_limited(tables[split], split, config))
        for split in (*SPLITS, UNLABELLED)
        if split in tables
    }
    return Corpus(config.name, classes.names, splits, sources.origin, sources.commit)


def _label_counts(table: pa.Table) -> dict[str, int]:
    counts = pc.value_counts(table["label"].combine_chunks()).to_pylist()
    return {entry["values"]: entry["counts"] for entry in counts}


def _check_classes(counts: Mapping[str, Mapping[str, int]], classes: Classes, name: str) -> None:
    """Refuse one class, and labels that train does not have."""
    trained = counts[TRAIN]
    trained_ids = {classes.ids[label] for label in trained}
    if len(trained_ids) < 2:
        raise PipelineError(
            f"dataset {name}: train has one class only ({listed(trained)}); a classifier needs two."
        )
    for split, labels in counts.items():
        for label, rows in labels.items():
            if classes.ids.get(label) not in trained_ids:
                raise PipelineError(
                    f"dataset {name}: label {label!r} occurs in {split} ({rows_of(rows)}) but "
                    f"not in train; train has: {listed(sorted(trained))}."
                )
    _warn_of_lookalikes(classes.names)


def _warn_of_lookalikes(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if key in seen:
            log.warning("labels %r and %r look alike; they are two classes", seen[key], name)
        seen[key] = name


def _with_ids(table: pa.Table, classes: Classes) -> pa.Table:
    """Replace labels by their ids."""
    labels = pa.array(list(classes.ids), pa.string())
    ids = pa.array(list(classes.ids.values()), pa.int64())
    return table.set_column(1, "label", ids.take(pc.index_in(table["label"], labels)))


def _dataset(table: pa.Table) -> "datasets.Dataset":
    from datasets import Dataset
    from datasets.table import InMemoryTable

    # Without a fingerprint of its own, the whole table would be hashed for one.
    return Dataset(InMemoryTable(table), fingerprint=uuid.uuid4().hex)


def _split_off(train: pa.Table, split: str, config: DatasetConfig) -> tuple[pa.Table, pa.Table]:
    share = config.test_size if split == TEST else config.validation_size
    try:
        return split_off(train, share, config.split_seed)
    except ValueError as error:
        raise PipelineError(
            f"dataset {config.name}: train has {pc.count_distinct(folded(train['text'])).as_py():,}"
            f" different texts of {len(pc.unique(train['label'])):,} classes, too few to split off "
            f"{split} with every class in both; give a {split} file."
        ) from error


def _unseen(unlabelled: pa.Table, tables: Mapping[str, pa.Table], name: str) -> pa.Table:
    """Leave texts of validation and test out of those that a teacher teaches with.

    Texts that differ in case and spaces only are the same.
    """
    measured = pa.chunked_array(
        [chunk for split in (VALIDATION, TEST) for chunk in tables[split]["text"].chunks]
    )
    seen = pc.is_in(folded(unlabelled["text"]), value_set=folded(measured))
    rows, left_out = len(unlabelled), pc.sum(seen).as_py()
    if left_out == rows:
        raise PipelineError(
            f"dataset {name}: all texts of dataset.unlabelled_file are in validation or test."
        )
    if left_out:
        line = "unlabelled: left out %d of %d rows, whose texts are in validation or test"
        log.warning(line, left_out, rows)
        unlabelled = unlabelled.filter(pc.invert(seen))
    labels = pa.repeat(pa.scalar(0, pa.int64()), len(unlabelled))
    return unlabelled.set_column(1, "label", labels)


def _limited(table: pa.Table, split: str, config: DatasetConfig) -> pa.Table:
    limits = {TRAIN: config.max_train_samples, UNLABELLED: None}
    limit = limits.get(split, config.max_eval_samples)
    if limit is None or limit >= len(table):
        return table
    if split != TRAIN:
        return first_of_shuffle(table, limit, config.split_seed)
    classes = len(pc.unique(table["label"]))
    if limit < classes:
        raise PipelineError(
            f"dataset {config.name}: dataset.max_train_samples={limit} cannot keep a text of each "
            f"of its {classes} classes."
        )
    return first_with_each_class(table, limit, config.split_seed)


def _digest(rows: "datasets.Dataset") -> str:
    sha = hashlib.sha256()
    for batch in rows.iter(batch_size=1000):
        for text, label in zip(batch["text"], batch["label"], strict=True):
            content = text.encode()
            # A line for each row. A text with a line's end is written with its length, so that no
            # two splits are written alike; the digests of version 0.1.0 stay for all others.
            head = b"%d\n%d\t" % (label, len(content)) if b"\n" in content else b"%d\t" % label
            sha.update(head + content + b"\n")
    return sha.hexdigest()[:16]
