"""Write the page of runs that logged different tables: FP32 only, untimed, post-training, ..."""

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from pipeline.compression.statistics import OpStatistics
from pipeline.evaluation.benchmark import Benchmark, Point
from pipeline.evaluation.results import Answers, Result, result_of
from pipeline.models.artifact import Artifact
from pipeline.reports import results as results_report
from pipeline.reports.model import write_model_report
from pipeline.reports.run_page import _transposed, write_report

NAMES = ("a <b>", "c & d")
TEXTS = ["one <script>alert(1)</script>", "two", "three", "four"]
LABELS = np.array([0, 0, 1, 1])


def result(folder: Path, variant: str, predictions: list[int]) -> Result:
    (folder / variant).mkdir()
    (folder / variant / "model.onnx").write_bytes(bytes(1000))
    logits = 2 * np.eye(2, dtype=np.float32)[predictions]
    answers = Answers(logits, LABELS)
    return result_of(Artifact(variant, folder / variant), answers, answers)


def timed(variant: str) -> Benchmark:
    points = tuple(
        Point(batch, tokens, batch, 2.0 * batch, 3.0 * batch, (0.9 * batch, 1.2 * batch))
        for batch in (1, 32)
        for tokens in (None, 16)
    )
    return Benchmark(variant, 0.1, 200.0, points)


def page(
    tmp_path: Path,
    predictions: dict[str, list[int]],
    *,
    is_timed: bool,
    names: tuple[str, str] = NAMES,
) -> str:
    """Write the tables of a run and its page, and return the page."""
    results = {variant: result(tmp_path, variant, rows) for variant, rows in predictions.items()}
    folder = tmp_path / "reports"
    folder.mkdir()
    benchmarks = {variant: timed(variant) for variant in results} if is_timed else {}
    results_report.write_results(folder, results, benchmarks, LABELS, names)
    split = datasets.Dataset.from_dict({"text": TEXTS})
    tokens = datasets.Dataset.from_dict({"labels": LABELS, "num_tokens": np.arange(4)})
    write_model_report(folder, results, split, tokens, names)
    if "int8" in results:
        results_report.write_statistics(folder, (OpStatistics("Linear", 2, 2, 0, 0),))
        row = ("classifier", "Linear", "INT8", 0.01, 0.02)
        columns = ["module", "op_type", "precision", "weight_error", "output_error"]
        results_report.write_layers(folder, pd.DataFrame([row], columns=columns))
    file = folder / "report.html"
    write_report(folder, "a run", "`model` on `corpus`", 32, file)
    return file.read_text(encoding="utf-8")


FP32_ALONE = {"fp32": [0, 0, 1, 0]}
QUANTIZED = {"fp32": [0, 0, 1, 0], "int8": [0, 0, 1, 1]}
EXPORTED = {**QUANTIZED, "onnx_int8": [0, 1, 1, 1]}


@pytest.mark.parametrize("is_timed", [True, False])
@pytest.mark.parametrize("predictions", [FP32_ALONE, QUANTIZED, EXPORTED])
def test_a_page_has_the_sections_that_the_run_has_tables_for(
    tmp_path: Path, predictions: dict[str, list[int]], is_timed: bool
) -> None:
    text = page(tmp_path, predictions, is_timed=is_timed)
    assert text.count("<svg") == text.count("</svg>")
    assert ("Mixed Precision Statistics" in text) == ("int8" in predictions)
    assert ("Quantization error by module" in text) == ("int8" in predictions)
    assert ("fp32 and int8 disagree" in text) == ("int8" in predictions)
    assert ("What it costs" in text) == is_timed
    pictures = len(predictions) + 2 + ("int8" in predictions) + is_timed
    assert text.count("<svg") == pictures, "confusion matrices, calibration, lengths, and the rest"
    assert "The corpus" not in text, "this folder has no table of it"


def test_texts_and_labels_cannot_write_html(tmp_path: Path) -> None:
    text = page(tmp_path, {"fp32": [1, 0, 1, 0]}, is_timed=False)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "<b>" not in text


@pytest.mark.parametrize(
    "names", [("NA", "007"), ("$5_$", "class"), ("1.0", "1.00"), ("=1+1", "-1"), ("@a", "+b")]
)
def test_labels_stand_as_they_are_written(tmp_path: Path, names: tuple[str, str]) -> None:
    text = page(tmp_path, {"fp32": [1, 0, 1, 0]}, is_timed=False, names=names)
    for name in names:
        assert f"<td>{name}</td>" in text, "in the tables"
        assert f">{name}</text>" in text, "in the confusion matrix"


def test_only_the_share_of_truncated_texts_is_a_percentage() -> None:
    row = {"split": "train", "rows": 10, "truncated_share": 0.25, "class market_share": 6}
    columns = _transposed(pd.DataFrame([row]))
    assert columns[""].tolist() == ["rows", "truncated share", "class market_share"]
    assert columns["train"].tolist() == ["10", "25.00%", "6"]


def test_built_twice_the_page_is_the_same(tmp_path: Path) -> None:
    first = page(tmp_path, QUANTIZED, is_timed=True)
    again = tmp_path / "again.html"
    write_report(tmp_path / "reports", "a run", "`model` on `corpus`", 32, again)
    assert again.read_text(encoding="utf-8") == first
