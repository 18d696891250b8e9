"""Compare runs on each corpus by themselves: figures on other texts are no rivals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.comparison.comparison import RUN_ID, STATUS, Comparison
from pipeline.comparison.rows import Row, row_of
from pipeline.errors import PipelineError, nearest
from pipeline.names import FINISHED
from pipeline.tracking.lookup import last_attempts

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
    rows = [row_of(run, objectives) for run in last_attempts(runs)]
    corpora: dict[str, list[Row]] = {}
    for row in rows:
        if row.data or row.status == FINISHED:
            corpora.setdefault(row.data or f"{row.dataset}, not known", []).append(row)
    for row in rows:
        if not row.data and row.status != FINISHED:
            named = [key for key in corpora if corpora[key][0].dataset == row.dataset]
            corpora.setdefault(named[0] if named else row.dataset, []).append(row)
    names = Counter(group[0].dataset for group in corpora.values())
    compared = [
        Comparison.of_rows(
            [_told_apart(row, key) if names[group[0].dataset] > 1 else row for row in group],
            objectives,
        )
        for key, group in corpora.items()
    ]
    return tuple(sorted(compared, key=lambda each: -len(each.rows)))


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


def _told_apart(row: Row, key: str) -> Row:
    return replace(row, dataset=f"{row.dataset} ({key[:DIGITS] if row.data else 'no digest'})")


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
