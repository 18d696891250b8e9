"""Find the test texts that two runs answer differently."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.evaluation.significance import mcnemar

ROW, LABEL, FIRST, SECOND = "row", "label", "first", "second"


@dataclass(frozen=True)
class Pair:
    """What the shipped models of two runs answer to the same test texts.

    Args:
        differing: the texts with different answers: number of the row from 0, true label, answer of
            the first and of the second run; those that only one of them gets right come first.
        texts: number of texts.
        only_first: number of texts that only the first run gets right.
        only_second: number of texts that only the second run gets right.
        p_value: McNemar's, for one of them being better.
    """

    differing: pd.DataFrame
    texts: int
    only_first: int
    only_second: int
    p_value: float

    @property
    def line(self) -> str:
        """Describe the pair in one line."""
        return (
            f"{len(self.differing)} of {self.texts} test texts have different answers: the first "
            f"run alone is right on {self.only_first}, the second alone on {self.only_second} "
            f"(McNemar's p {self.p_value:.2g})"
        )


def pair_of(labels: pd.Series, first: pd.Series, second: pd.Series) -> Pair:
    """Compare the answers of two runs.

    Args:
        labels: true label of each text.
        first: answers of the first run, in the same order.
        second: answers of the second run.
    """
    right, other_right = (np.asarray(answers == labels) for answers in (first, second))
    answers = pd.DataFrame({ROW: range(len(labels)), LABEL: labels, FIRST: first, SECOND: second})
    differs = np.asarray(first != second)
    one_is_right = (right | other_right)[differs]
    order = np.argsort(~one_is_right, kind="stable")
    return Pair(
        differing=answers[differs].iloc[order].reset_index(drop=True),
        texts=len(labels),
        only_first=int((right & ~other_right).sum()),
        only_second=int((other_right & ~right).sum()),
        p_value=mcnemar(right, other_right),
    )
