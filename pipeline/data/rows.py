"""Say which columns of a table are wanted, and pass its rows on as they are read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.config.schema import DatasetConfig
from pipeline.errors import PipelineError

LISTED_COLUMNS = 20  # that an error names
LISTED_CHARACTERS = 40  # of each


def key_of_config(key: str, name: str) -> str:
    """Write a column's name as a config has it: dataset.text_column='text'."""
    return f"dataset.{key}={name!r}"


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are wanted.

    Args:
        text: name of the column with the texts.
        label: name of the column with the labels, or None for texts without.
        text_pair: name of the column with the second texts of pairs, or None.
        others: names of further columns.
        as_typed: writes a key of the config and its column as the person typed them, for errors.
    """

    text: str
    label: str | None
    text_pair: str | None
    others: tuple[str, ...] = ()
    as_typed: Callable[[str, str], str] = key_of_config

    @classmethod
    def of(cls, config: DatasetConfig) -> "Columns":
        """Take the columns that the dataset group names."""
        return cls(config.text_column, config.label_column, config.text_pair_column)

    @property
    def _by_key(self) -> dict[str, str]:
        """Their names by the keys of the config, in the order of a row's values."""
        names = {
            "text_column": self.text,
            "label_column": self.label,
            "text_pair_column": self.text_pair,
        }
        return {key: name for key, name in names.items() if name is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in the order of a row's values: text, label, second text, and others."""
        return (*self._by_key.values(), *self.others)

    def places_in(self, columns: Sequence[str], file: str) -> list[int]:
        """Find the wanted columns.

        Args:
            columns: names of a table's columns.
            file: where the table comes from, for the error.

        Returns:
            The place of each wanted column.

        Raises:
            PipelineError: one is missing, or there twice; the line names what was typed.
        """
        for key, name in self._by_key.items():
            if name not in columns:
                raise PipelineError(
                    f"{self.as_typed(key, name)} is not in {file}; its columns are: "
                    f"{listed(columns)}."
                )
        for name in self.names:
            if columns.count(name) > 1:
                raise PipelineError(f"{file} has {columns.count(name)} columns named {name!r}.")
        return [columns.index(name) for name in self.names]


@dataclass(frozen=True)
class Rows:
    """A table while it is read.

    Args:
        source: file, or split on the Hub, that the rows come from.
        unit: what a row's number counts: "line" of a text file, else "row"; both from 1.
        values: number and values of each row, in the order of Columns.names.
        class_names: classes by id, if the table declares them; labels are then names.
    """

    source: str
    unit: str
    values: Iterable[tuple[int, Sequence[object]]]
    class_names: tuple[str, ...] | None = None


def class_name(names: Sequence[str], label: object) -> object:
    """Return the name of a class by its id; an id without a name stays, for an error to name it."""
    is_id = isinstance(label, int) and 0 <= label < len(names)
    return names[label] if is_id else label  # type: ignore[call-overload]


def listed(columns: Iterable[str]) -> str:
    """List the names of columns or classes for an error, on one line."""
    names = [_shown(str(name)) for name in columns]
    more = f" and {len(names) - LISTED_COLUMNS:,} more" if len(names) > LISTED_COLUMNS else ""
    return ", ".join(names[:LISTED_COLUMNS]) + more


def rows_of(count: int) -> str:
    """Write a number of rows in words."""
    return "1 row" if count == 1 else f"{count:,} rows"


def _shown(name: str) -> str:
    short = name if len(name) <= LISTED_CHARACTERS else name[: LISTED_CHARACTERS - 1] + "…"
    is_plain = short.isprintable() and short == " ".join(short.split())
    return short if short and is_plain else repr(short)
