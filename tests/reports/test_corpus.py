from dataclasses import replace

import pandas as pd
import pytest

from pipeline.reports.corpus import Description, SplitDescription, warn_of_corpus

SPLIT = SplitDescription(
    rows=100,
    class_counts=(50, 50),
    tokens_median=20,
    tokens_p95=200,
    tokens_max=300,
    truncated_share=0.2,
    duplicates=0,
    shared_with_train=5,
    shared_with_validation=0,
)


def described(**splits: SplitDescription) -> Description:
    usual = {"train": replace(SPLIT, shared_with_train=None), "validation": SPLIT, "test": SPLIT}
    return Description(("a", "b"), {**usual, **splits}, pd.DataFrame())


def test_what_is_usual_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_corpus("mine", described(), 128)
    assert not caplog.text


def test_texts_that_are_cut_and_texts_of_train_in_test_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cut = replace(SPLIT, truncated_share=0.21, shared_with_train=None)
    warn_of_corpus("mine", described(train=cut, test=replace(SPLIT, shared_with_train=6)), 128)
    assert [record.getMessage() for record in caplog.records] == [
        "mine: 21 % of the texts of train are cut at dataset.max_length=128 tokens; 95 % of them "
        "have up to 200",
        "mine: 6 of 100 texts of test are in train as well; figures are too high where a model was "
        "trained on the texts",
    ]
