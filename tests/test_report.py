from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import AutoTokenizer

from pipeline import report
from pipeline.config import DatasetConfig
from pipeline.data import load_corpus, tokenize
from pipeline.evaluation import Metrics
from pipeline.training import OpStatistics

METRICS = {
    "fp32": Metrics(0.9, 0.3, 0.89, np.array([[4, 1], [0, 5]])),
    "int8": Metrics(0.8, 0.4, 0.79, np.array([[4, 1], [1, 4]])),
}


def test_a_corpus_is_described_by_counts_that_add_up(tmp_path: Path, micro_corpus: Path, micro_model: Path) -> None:
    config = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=8)
    corpus = load_corpus(config)
    tokens = tokenize(corpus, AutoTokenizer.from_pretrained(micro_model), config)
    description = report.describe(corpus, tokens, config.max_length)
    train = description.splits["train"]
    lengths = np.asarray(tokens["train"]["num_tokens"])
    assert train.rows == sum(train.class_counts) == 240
    assert train.truncated_share == pytest.approx((lengths > 8).mean())
    assert 0 < train.truncated_share < 1
    assert description.figures["corpus/train_tokens_max"] == lengths.max()
    assert list(description.examples["label"]) == ["cold"] * 3 + ["hot"] * 3 + ["wet"] * 3

    report.write_corpus(tmp_path, corpus, tokens, description, config.max_length)
    table = pd.read_csv(tmp_path / "corpus.csv")
    assert list(table["split"]) == ["train", "validation", "test"]
    assert list(table["class hot"]) == [80, 20, 20]
    assert (tmp_path / "corpus.png").read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(tmp_path / "examples.csv")) == 9


def test_the_statistics_have_the_columns_of_neural_compressor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.write_statistics(tmp_path, [OpStatistics("Linear", 14, 12, 0, 2)])
    table = pd.read_csv(tmp_path / "mixed_precision_statistics.csv")
    assert table.to_dict("records") == [{"Op Type": "Linear", "Total": 14, "INT8": 12, "BF16": 0, "FP32": 2}]
    assert "Mixed Precision Statistics" in capsys.readouterr().out


def test_a_model_that_is_not_quantized_has_no_statistics(tmp_path: Path) -> None:
    report.write_statistics(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_the_variants_stand_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"fp32": 62.5, "int8": 16.1}
    report.show_metrics(METRICS, sizes, "micro")
    printed = capsys.readouterr().out
    for cell in ("accuracy", "loss", "macro F1", "size (MB)", "0.9000", "0.8000", "16.1000"):
        assert cell in printed
    report.write_metrics(tmp_path, METRICS, sizes, ["no", "yes"])
    assert list(pd.read_csv(tmp_path / "figures.csv")["model"]) == ["fp32", "int8"]
    confusion = pd.read_csv(tmp_path / "confusion_int8.csv", index_col=0)
    assert confusion.loc["yes", "no"] == 1


def test_a_name_in_brackets_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_metrics({"[red]": METRICS["fp32"]}, {"[red]": 1.0}, "[bold]title")
    printed = capsys.readouterr().out
    assert "[red]" in printed
    assert "[bold]title" in printed
