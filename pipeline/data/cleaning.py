"""Check the rows of tables, and keep text and label of the good ones."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.console.markdown import printable
from pipeline.data.rows import Rows, rows_of
from pipeline.errors import PipelineError
from pipeline.inference.texts import PAIR_SEPARATOR
from pipeline.names import UNLABELLED

LISTED_ROWS = 5  # bad rows that an error names before it says "and n more"
LISTED_LABELS = 3
log = logging.getLogger(__name__)


@dataclass
class Findings:
    """What was wrong in the rows of a split, or changed.

    Args:
        rows: number of rows read.
        bad: number of bad rows.
        listed: the first of them, each with its place and reason.
        stripped: number of rows by label with white space around it.
    """

    rows: int = 0
    bad: int = 0
    listed: list[str] = field(default_factory=list)
    stripped: Counter[str] = field(default_factory=Counter)


def good_rows(tables: Iterable[Rows], findings: Findings) -> Iterator[tuple[str, str]]:
    """Yield text and label of each row that has both; a pair's texts with a tab between them.

    A label is written as text: as it stands in a text file, and as Python writes it otherwise
    (7, 0.5, True). White space around it is taken off.

    Args:
        tables: tables of one split.
        findings: takes down what was wrong or changed.
    """
    for rows in tables:
        for number, (text, label, *seconds) in rows.values:
            findings.rows += 1
            reason = _why_bad(text, label, seconds)
            if reason:
                findings.bad += 1
                if len(findings.listed) < LISTED_ROWS:
                    findings.listed.append(f"{rows.source}, {rows.unit} {number} ({reason})")
                continue
            spelled = str(label)
            stripped = spelled.strip()
            if stripped != spelled:
                findings.stripped[spelled] += 1
            yield join_pair(text, *seconds) if seconds else str(text), stripped


def join_pair(*texts: object) -> str:
    """Write both texts of a pair as one, with a tab between them and none within.

    Args:
        texts: both texts.
    """
    return PAIR_SEPARATOR.join(str(text).replace(PAIR_SEPARATOR, " ") for text in texts)


def report(findings: Findings, split: str, name: str, *, drop: bool) -> None:
    """Refuse a split with bad rows, or say what was left out and what was changed.

    Args:
        findings: what good_rows() took down.
        split: name of the split.
        name: name of the corpus.
        drop: whether bad rows are left out.

    Raises:
        PipelineError: there are bad rows that are not to be left out, or no good ones.
    """
    more = f" and {findings.bad - LISTED_ROWS:,} more" if findings.bad > LISTED_ROWS else ""
    bad = printable(f"{'; '.join(findings.listed)}{more}")
    needed = "a text" if split == UNLABELLED else "a text or a label"
    if findings.bad and not drop:
        raise PipelineError(
            f"dataset {name}: {split} has {rows_of(findings.bad)} without {needed}: {bad}; "
            "correct them, or set dataset.on_bad_rows=drop."
        )
    if findings.rows == findings.bad:
        raise PipelineError(
            f"dataset {name}: {split} is empty; it needs at least one row with "
            f"{needed.replace(' or ', ' and ')}."
        )
    if findings.bad:
        log.warning("%s: left out %d of %d rows: %s", split, findings.bad, findings.rows, bad)
    if findings.stripped:
        labels = ", ".join(repr(label) for label in list(findings.stripped)[:LISTED_LABELS])
        count = sum(findings.stripped.values())
        log.warning("%s: took white space off the label of %d rows: %s", split, count, labels)


def _why_bad(text: object, label: object, seconds: Sequence[object]) -> str | None:
    for value in (text, *seconds):
        if isinstance(value, bytes):
            return "the text is not UTF-8"
        if not isinstance(value, str):
            return "there is no text" if value is None else f"{type(value).__name__} for a text"
        if not value or value.isspace():
            return "the text is empty"
        if not value.isascii() and _has_half_character(value):
            return "half a character in the text"
    if label is None or label != label:
        return "there is no label"
    if isinstance(label, bytes):
        return "the label is not UTF-8"
    if isinstance(label, list | dict | tuple):
        return "a list for a label" if not isinstance(label, dict) else "an object for a label"
    spelled = str(label)
    if not spelled.strip():
        return "the label is empty"
    return "half a character in the label" if _has_half_character(spelled) else None


def _has_half_character(text: str) -> bool:
    r"""Tell whether a string, such as JSON's "\ud83d", has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
