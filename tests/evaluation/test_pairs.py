import pandas as pd

from pipeline.evaluation.pairs import pair_of


def test_texts_that_one_run_alone_gets_right_come_first() -> None:
    labels = pd.Series(["a", "a", "b", "c", "a"])
    first = pd.Series(["a", "b", "b", "a", "b"])
    second = pd.Series(["a", "c", "a", "b", "a"])
    pair = pair_of(labels, first, second)
    assert pair.differing["row"].tolist() == [2, 4, 1, 3]
    assert pair.differing.iloc[0].tolist() == [2, "b", "b", "a"]
    assert (pair.texts, pair.only_first, pair.only_second, pair.p_value) == (5, 1, 1, 1.0)
    assert pair.line.startswith("4 of 5 test texts have different answers: the first run alone is")


def test_runs_that_answer_alike_have_no_such_texts() -> None:
    labels = pd.Series(["a", "b"])
    assert pair_of(labels, labels, labels).differing.empty
