"""Compare runs on each corpus by themselves: figures on other texts are no rivals."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import filterfalse
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.comparison.comparison import RUN_ID, STATUS, Comparison
from pipeline.comparison.rows import dataset_of, measured_on, row_of
from pipeline.errors import PipelineError, nearest
from pipeline.names import FINISHED
from pipeline.tracking.lookup import last_attempts, status_of

if TYPE_CHECKING:
    from mlflow.entities import Run

SUGGESTED = 5  # figures that an error names
DIGITS = 8  # of a digest, which tell two corpora of one name apart


def compare(runs: "Sequence[Run]", objectives: Sequence[str]) -> tuple[Comparison, ...]:
    """Compare runs.

    Args:
        runs: at least one run; none of them is the parent of a sweep.
        objectives: names of figures, as for Comparison.of.

    Returns:
        A comparison for each corpus, the one with the most runs first. Runs are on one corpus if
        their validation and test splits have the same digests, whatever it is called; a run that
        ended before it had read its corpus stands with those of the same name.
    """
    corpora = by_corpus(last_attempts(runs))
    marks = digest_marks(corpora)
    compared = []
    for key, group in corpora.items():
        rows = [row_of(run, objectives) for run in group]
        rows = [replace(row, dataset=f"{row.dataset}{marks[key]}") for row in rows]
        compared.append(Comparison.of_rows(rows, objectives))
    return tuple(sorted(compared, key=lambda each: -len(each.rows)))


def by_corpus(runs: "Sequence[Run]") -> "dict[str, list[Run]]":
    """Group runs by the texts that they were measured on.

    Args:
        runs: runs in any order; none of them is the parent of a sweep.

    Returns:
        The runs of each corpus in their order, by corpus_of() the runs; one that ended before it
        had read its corpus stands with those of the same name.
    """
    corpora: dict[str, list[Run]] = {}
    for run in filter(_has_read, runs):
        corpora.setdefault(corpus_of(run), []).append(run)
    for run in filterfalse(_has_read, runs):
        dataset = dataset_of(run)
        named = [key for key, group in corpora.items() if dataset_of(group[0]) == dataset]
        corpora.setdefault(named[0] if named else dataset, []).append(run)
    return corpora


def corpus_of(run: "Run") -> str:
    """Return what the runs on one corpus share: the digests of validation and test.

    Args:
        run: a run that has read its corpus. Those that have not logged its digests are on one
            corpus if it has one name.
    """
    return measured_on(run) or f"{dataset_of(run)}, not known"


def digest_marks(corpora: "Mapping[str, Sequence[Run]]") -> dict[str, str]:
    """Return what is written behind the name of each corpus, to tell those of one name apart.

    Args:
        corpora: runs as by_corpus() groups them.

    Returns:
        By the corpus's key, the beginning of its digest, or nothing where its name is enough.
    """
    names = Counter(dataset_of(group[0]) for group in corpora.values())
    return {
        key: f" ({key[:DIGITS] if measured_on(group[0]) else 'no digest'})"
        if names[dataset_of(group[0])] > 1
        else ""
        for key, group in corpora.items()
    }


def check_logged(names: Sequence[str], runs: "Sequence[Run]") -> None:
    """Make sure that there is something to compare runs by.

    Args:
        names: names of figures, as typed.
        runs: runs.

    Raises:
        PipelineError: none of the runs has one of the figures.
    """
    logged = {name for run in runs for name in run.data.metrics}
    for name in names:
        if name not in logged:
            suggestion = nearest(name, logged, SUGGESTED) if logged else "they have no figures."
            raise PipelineError(
                f"metric {name} is logged by none of these {len(runs)} runs; {suggestion}"
            )


def _has_read(run: "Run") -> bool:
    return bool(measured_on(run)) or status_of(run) == FINISHED


def table_of(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Lay the runs of all corpora out as one table.

    Args:
        comparisons: comparison of each corpus.

    Returns:
        The tables below each other; their columns are those of Comparison.table(), with every
        parameter that varies in one of them.
    """
    varying = list(dict.fromkeys(key for each in comparisons for key in each.varying))
    tables = [comparison.table(varying) for comparison in comparisons]
    columns = dict.fromkeys(str(column) for table in tables for column in table.columns)
    ordered: list[str] = sorted(columns, key=_is_last)
    return pd.concat(tables, ignore_index=True)[ordered]


def _is_last(column: str) -> int:
    return (STATUS, RUN_ID).index(column) + 1 if column in (STATUS, RUN_ID) else 0
