from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from transformers import AutoTokenizer

from pipeline.compression.statistics import OpStatistics
from pipeline.config.schema import DatasetConfig
from pipeline.data.corpus import Corpus, load_corpus
from pipeline.data.tokens import tokenize
from pipeline.evaluation.benchmark import Benchmark, Point
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.results import Answers, Result, result_of
from pipeline.models.artifact import Artifact
from pipeline.reports import corpus as corpus_report
from pipeline.reports import results as results_report
from tests.conftest import CLASSES

LABELS = np.array([0, 0, 1, 1])


def result(
    folder: Path, variant: str, kilobytes: int, predictions: list[int], metrics: Metrics
) -> Result:
    (folder / variant).mkdir()
    (folder / variant / "model.safetensors").write_bytes(bytes(1000 * kilobytes))
    logits = np.eye(2, dtype=np.float32)[predictions]
    answers = Answers(logits, LABELS)
    scored = result_of(Artifact(variant, folder / variant), answers, answers)
    return replace(scored, metrics=metrics, validation_metrics=metrics)


@pytest.fixture
def results(tmp_path: Path) -> dict[str, Result]:
    fp32 = Metrics(0.9, 0.3, 0.89, np.array([[2, 0], [0, 2]]))
    int8 = Metrics(0.8, 0.4, 0.79, np.array([[2, 0], [1, 1]]))
    return {
        "fp32": result(tmp_path, "fp32", 625, [0, 0, 1, 1], fp32),
        "onnx_int8": result(tmp_path, "onnx_int8", 161, [0, 0, 0, 1], int8),
    }


def timed(variant: str, ms: float) -> Benchmark:
    points = tuple(
        Point(
            batch,
            tokens,
            ms * batch,
            2 * ms * batch,
            3 * ms * batch,
            (0.9 * ms * batch, 1.2 * ms * batch),
        )
        for batch in (1, 32)
        for tokens in (None, 16)
    )
    return Benchmark(variant, 0.1, 200.0, points)


def test_a_corpus_is_described_by_counts_that_add_up(
    tmp_path: Path, micro_corpus: Path, micro_model: Path
) -> None:
    config = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=8)
    corpus = load_corpus(config)
    tokens = tokenize(corpus, AutoTokenizer.from_pretrained(micro_model), config)
    description = corpus_report.describe(corpus, tokens, config.max_length)
    train = description.splits["train"]
    lengths = np.asarray(tokens["train"]["num_tokens"])
    assert train.rows == sum(train.class_counts) == 240
    assert train.truncated_share == pytest.approx((lengths > 8).mean())
    assert 0 < train.truncated_share < 1
    assert description.figures["corpus/train_tokens_max"] == lengths.max()
    rows = pd.read_csv(micro_corpus / "train.csv")
    first = [text for label in CLASSES for text in rows["text"][rows["label"] == label][:3]]
    assert list(description.examples["label"]) == ["cold"] * 3 + ["hot"] * 3 + ["wet"] * 3
    assert list(description.examples["text"]) == first

    corpus_report.write_corpus(tmp_path, tokens, description, config.max_length)
    table = pd.read_csv(tmp_path / "corpus.csv")
    assert list(table["split"]) == ["train", "validation", "test"]
    assert list(table["class hot"]) == [80, 20, 20]
    assert (tmp_path / "corpus.png").read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(tmp_path / "examples.csv")) == 9


def test_texts_that_stand_in_two_splits_are_counted() -> None:
    texts = {
        "train": ["Ice  and snow", "fire", "ice and snow"],
        "validation": ["sun", "rain", "Fire"],
        "test": ["ICE and snow", "rain", "fire"],
    }
    splits = {
        split: datasets.Dataset.from_dict({"text": found, "label": [0, 1, 0]})
        for split, found in texts.items()
    }
    tokens = {split: datasets.Dataset.from_dict({"num_tokens": [1, 2, 3]}) for split in texts}
    description = corpus_report.describe(
        Corpus("micro", ("cold", "hot"), splits, "here"), tokens, 128
    )
    found = {
        split: (described.duplicates, described.shared_with_train, described.shared_with_validation)
        for split, described in description.splits.items()
    }
    assert found == {"train": (1, None, 1), "validation": (0, 1, None), "test": (0, 2, 2)}
    assert description.figures["corpus/test_shared_with_validation"] == 2
    assert "corpus/train_shared_with_train" not in description.figures


def test_the_statistics_have_the_columns_of_neural_compressor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results_report.write_statistics(tmp_path, [OpStatistics("Linear", 14, 12, 0, 2)])
    table = pd.read_csv(tmp_path / "mixed_precision_statistics.csv")
    assert table.to_dict("records") == [
        {"Op Type": "Linear", "Total": 14, "INT8": 12, "BF16": 0, "FP32": 2}
    ]
    assert "Mixed Precision Statistics" in capsys.readouterr().out


def test_a_model_that_is_not_quantized_has_no_statistics(tmp_path: Path) -> None:
    results_report.write_statistics(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_the_variants_stand_beside_each_other(
    tmp_path: Path, results: dict[str, Result], capsys: pytest.CaptureFixture[str]
) -> None:
    benchmarks = {"fp32": timed("fp32", 2.0), "onnx_int8": timed("onnx_int8", 0.5)}
    results_report.show_results(results, benchmarks, "micro")
    printed = capsys.readouterr().out
    for cell in (
        "accuracy",
        "macro F1",
        "MB",
        "0.9000",
        "0.8000",
        "0.2",
        "p50 (ms)",
        "0.50",
        "texts/s",
        "2000",
    ):
        assert cell in printed
    results_report.write_results(tmp_path, results, benchmarks, LABELS, ["no", "yes"])
    assert list(pd.read_csv(tmp_path / "figures.csv")["model"]) == ["fp32", "onnx_int8"]
    confusion = pd.read_csv(tmp_path / "confusion_onnx_int8.csv", index_col=0)
    assert confusion.loc["yes", "no"] == 1
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert list(predictions["label"]) == ["no", "no", "yes", "yes"]
    assert list(predictions["onnx_int8"]) == ["no", "no", "no", "yes"]
    rows = pd.read_csv(tmp_path / "benchmark.csv").query(
        "model == 'onnx_int8' and batch == 32 and tokens == 16"
    )
    assert rows["p50_ms_max"].item() == pytest.approx(19.2)
    assert rows["throughput_per_s"].item() == pytest.approx(2000)
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_every_test_figure_has_its_interval_and_validation_stands_beside_it(
    tmp_path: Path, results: dict[str, Result]
) -> None:
    results_report.write_results(tmp_path, results, {}, LABELS, ["no", "yes"])
    table = pd.read_csv(tmp_path / "figures.csv").set_index("model")
    assert list(table.columns[:3]) == ["validation", "accuracy", "accuracy 95 %"]
    # Wilson's intervals of 4 and 3 out of 4.
    assert table["accuracy 95 %"].to_dict() == {"fp32": "0.510-1.000", "onnx_int8": "0.301-0.954"}
    for heading in ("macro F1 95 %", "calibration error 95 %"):
        for interval in table[heading]:
            low, high = map(float, interval.split("-"))
            assert 0 <= low <= high <= 1


def test_a_narrow_terminal_shows_what_chose_and_what_it_is_worth(
    results: dict[str, Result], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.console.tables.PIPED_WIDTH", 80)
    benchmarks = {"fp32": timed("fp32", 2.0), "onnx_int8": timed("onnx_int8", 0.5)}
    results_report.show_results(results, benchmarks, "micro")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for heading in ("model", "validation", "accuracy", "accuracy 95 %", "MB", "p50 (ms)"):
        assert heading in printed
    assert "calibration" not in printed


def test_what_was_not_timed_has_no_columns_for_it(
    tmp_path: Path, results: dict[str, Result]
) -> None:
    results_report.write_results(tmp_path, results, {}, LABELS, ["no", "yes"])
    assert "p50 (ms)" not in pd.read_csv(tmp_path / "figures.csv")
    assert not (tmp_path / "benchmark.png").exists()


def test_a_name_in_brackets_is_no_markup(
    results: dict[str, Result], capsys: pytest.CaptureFixture[str]
) -> None:
    results_report.show_results({"[red]": results["fp32"]}, {}, "[bold]title")
    printed = capsys.readouterr().out
    assert "[red]" in printed
    assert "[bold]title" in printed


def test_a_description_has_the_figures_that_decide_and_the_shipped_file_in_bold(
    results: dict[str, Result],
) -> None:
    lines = results_report.markdown_table(
        results, {"onnx_int8": timed("onnx_int8", 0.5)}, "onnx_int8"
    ).splitlines()
    assert lines[0] == "| model | validation | accuracy | accuracy 95 % | MB | p50 (ms) |"
    assert lines[2].startswith("| fp32 | 0.9000 | 0.9000 | ")
    assert lines[2].endswith(" | 0.6 |  |"), "what was not timed has an empty cell"
    assert lines[3].startswith("| **onnx_int8** | **0.8000** | **0.8000** | ")
    assert lines[3].endswith(" | **0.2** | **0.50** |")


def test_no_text_or_label_of_a_corpus_steers_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steering = "\x1b[2J\x9b31m"
    split = corpus_report.SplitDescription(2, (1, 1), 5.0, 9.0, 9, 0.0, 0, 0, 0)
    labels = (f"hot{steering}", "cold")
    examples = pd.DataFrame({"label": labels, "text": [f"sun{steering}", "snow"]})
    description = corpus_report.Description(labels, {"train": split}, examples)
    corpus_report.show_corpus(f"mine{steering}", description)
    shown = capsys.readouterr().out
    for word in ("mine", "hot", "sun", "snow"):
        assert word in shown
    assert not {"\x1b", "\x9b"} & set(shown)
