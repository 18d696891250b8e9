"""Tell a corpus's classes, and what its labels mean: decided once, on train."""

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from pipeline.data.rows import listed
from pipeline.errors import PipelineError

log = logging.getLogger(__name__)
NAMED_IDS = 3  # of a warning


@dataclass(frozen=True)
class Classes:
    """The classes of a corpus.

    Args:
        names: classes in the order of their ids.
        ids: id by label, as labels are spelled in the tables.
    """

    names: tuple[str, ...]
    ids: Mapping[str, int]


def classes_of(
    labels: Sequence[str], label_names: Sequence[str] | None, declared: Sequence[str] | None
) -> Classes:
    """Decide the classes from the labels of train.

    Args:
        labels: the labels that occur in train, as they are spelled.
        label_names: names by id that the user gives, or None.
        declared: names by id that the tables declare, or None; their labels are then names.

    Raises:
        PipelineError: a label is neither one of the given names nor an id of one.
    """
    if declared is not None:
        return _declared(labels, declared, label_names or declared)
    if label_names is None:
        return _by_name(sorted(labels, key=_order(labels)))
    if set(labels) <= set(label_names):
        return _by_name(label_names)
    ids = {spelling: id_ for id_ in range(len(label_names)) for spelling in _spellings(id_)}
    if set(labels) <= ids.keys():
        _warn_of_unused(label_names, {ids[label] for label in labels})
        return Classes(tuple(label_names), ids)
    unknown = sorted(set(labels) - set(label_names))
    raise PipelineError(
        f"label {unknown[0]!r} of train is not in dataset.label_names, which has: "
        f"{listed(label_names)}."
    )


def _warn_of_unused(label_names: Sequence[str], used: Set[int]) -> None:
    """Tell ids that are given names of other classes, as 0 and 1 those of a dataset with six."""
    unused = [name for id_, name in enumerate(label_names) if id_ not in used]
    if unused:
        log.warning(
            "the labels of train are ids of dataset.label_names: %s; it has no text of %s. With "
            "dataset.label_names=null, labels keep their own names",
            ", ".join(f"{id_} is {label_names[id_]}" for id_ in sorted(used)[:NAMED_IDS]),
            listed(unused),
        )


def _by_name(names: Sequence[str]) -> Classes:
    return Classes(tuple(names), {name: id_ for id_, name in enumerate(names)})


def _declared(
    labels: Sequence[str], declared: Sequence[str], label_names: Sequence[str]
) -> Classes:
    """Follow the tables' ids; the user's names put them in another order, or rename them."""
    unnamed = sorted(set(labels) - set(declared))
    if unnamed:
        raise PipelineError(
            f"label {unnamed[0]!r} of train is no id of the dataset's classes: {listed(declared)}."
        )
    if set(declared) <= set(label_names):
        return _by_name(label_names)
    if len(declared) == len(label_names):
        return Classes(tuple(label_names), {name: id_ for id_, name in enumerate(declared)})
    raise PipelineError(
        f"dataset.label_names has {len(label_names)} names; the dataset declares {len(declared)} "
        f"classes: {listed(declared)}."
    )


def _spellings(id_: int) -> tuple[str, str]:
    return str(id_), f"{id_}.0"  # pandas makes floats of ids when a label is missing


def _order(labels: Sequence[str]) -> "type[int] | type[str]":
    """Sort by number where every label is one in its shortest spelling: 2 before 10."""
    numbers = all(label.isdecimal() and label == str(int(label)) for label in labels)
    return int if numbers else str
