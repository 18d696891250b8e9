from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.results import Answers, Result, result_of
from pipeline.models.artifact import Artifact
from pipeline.reports.model import (
    accuracy_by_length,
    disagreements,
    mistakes,
    per_class,
    write_model_report,
)

NAMES = ("no", "yes")
LABELS = np.array([0, 0, 1, 1])
TEXTS = ["a", "b", "c", "d"]


def result(variant: str, sure: list[float]) -> Result:
    """A model that gives "yes" these probabilities."""
    yes = np.array(sure)
    logits = np.log(np.stack([1 - yes, yes], axis=1)).astype(np.float32)
    answers = Answers(logits, LABELS)
    return result_of(Artifact(variant, Path(variant)), answers, answers)


def test_a_class_has_precision_recall_and_f1() -> None:
    table = per_class(result("fp32", [0.1, 0.9, 0.9, 0.9]), LABELS, NAMES).set_index("class")
    assert table.loc["yes", "precision"] == pytest.approx(2 / 3)
    assert table.loc["yes", "recall"] == 1
    assert table.loc["no", ["precision", "recall", "texts"]].tolist() == [1, 0.5, 2]


def test_the_surest_mistakes_come_first() -> None:
    table = mistakes(result("fp32", [0.8, 0.95, 0.9, 0.3]), TEXTS, LABELS, NAMES)
    assert list(table["text"]) == ["b", "a", "d"]
    assert table.iloc[0].to_dict() == {
        "variant": "fp32",
        "confidence": pytest.approx(0.95),
        "label": "no",
        "predicted": "yes",
        "text": "b",
    }


def test_texts_on_which_two_variants_disagree_are_shown_furthest_apart_first() -> None:
    one, other = result("fp32", [0.1, 0.1, 0.9, 0.9]), result("int8", [0.6, 0.9, 0.9, 0.9])
    table = disagreements(one, other, TEXTS, LABELS, NAMES)
    assert list(table["text"]) == ["b", "a"]
    assert set(table["differing"]) == {2}
    assert list(table["first"]) == ["no", "no"]
    assert list(table["second"]) == ["yes", "yes"]


def test_ranges_of_length_hold_every_text_once() -> None:
    lengths = np.array([3, 50, 4, 5])
    table = accuracy_by_length(result("fp32", [0.1, 0.9, 0.9, 0.9]), LABELS, lengths)
    assert table["texts"].sum() == 4
    assert (table["accuracy"] * table["texts"]).sum() == 3
    assert table["tokens"].iloc[0].startswith("3 to ")
    assert table["tokens"].iloc[-1].endswith(" to 50")
    alike = accuracy_by_length(result("fp32", [0.1, 0.9, 0.9, 0.9]), LABELS, np.full(4, 7))
    assert alike["tokens"].tolist() == ["7 to 7"]


def test_a_run_without_int8_has_no_disagreements(tmp_path: Path) -> None:
    split = datasets.Dataset.from_dict({"text": TEXTS})
    tokens = datasets.Dataset.from_dict({"labels": LABELS, "num_tokens": np.arange(4)})
    write_model_report(
        tmp_path, {"fp32": result("fp32", [0.1, 0.9, 0.9, 0.9])}, split, tokens, NAMES
    )
    assert {file.name for file in tmp_path.iterdir()} == {
        "accuracy_by_length.csv",
        "calibration.csv",
        "mistakes.csv",
        "per_class.csv",
    }
    assert pd.read_csv(tmp_path / "calibration.csv")["texts"].sum() == 4
