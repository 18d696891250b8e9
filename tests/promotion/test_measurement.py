import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.baseline import linear
from pipeline.config.schema import BaselineConfig, DatasetConfig
from pipeline.data.corpus import load_corpus
from pipeline.errors import PipelineError
from pipeline.promotion import measurement
from pipeline.promotion.measurement import floor_of, measure, most_frequent_class, read_again


@pytest.fixture
def dataset(micro_corpus: Path, tmp_path: Path) -> DatasetConfig:
    shutil.copytree(micro_corpus, tmp_path / "corpus")
    return DatasetConfig(name="files", data_dir=str(tmp_path / "corpus"))


def test_the_validation_split_is_read_again_if_it_is_the_same(dataset: DatasetConfig) -> None:
    digest = load_corpus(dataset).digests["validation"]
    corpus = read_again(dataset, {"validation": digest}, "0123")
    assert corpus.digests["validation"] == digest


def test_a_validation_split_that_has_changed_measures_nothing(dataset: DatasetConfig) -> None:
    digest = load_corpus(dataset).digests["validation"]
    with (Path(dataset.data_dir) / "validation.csv").open("a", encoding="utf-8") as file:
        file.write("rain and snow,wet\nrain and sun,wet\n")
    with pytest.raises(PipelineError, match="validation split of run 0123 has changed since"):
        read_again(dataset, {"validation": digest}, "0123")


def test_a_corpus_that_is_gone_is_named(dataset: DatasetConfig) -> None:
    shutil.rmtree(dataset.data_dir)
    line = "run 0123 is measured on its validation split, which cannot be read: .*not a directory"
    with pytest.raises(PipelineError, match=line):
        read_again(dataset, {}, "0123")


def test_a_model_for_other_labels_is_no_rival(
    dataset: DatasetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Classifier:
        label_names = ("card", "loan")

        def __init__(self, _: Path) -> None:
            pass

    monkeypatch.setattr(measurement, "TextClassifier", Classifier)
    line = "the champion answers with card, loan, and the corpus has cold, hot, wet: .* --name"
    with pytest.raises(PipelineError, match=line):
        measure(Path("model"), load_corpus(dataset), "champion")


def test_answers_are_compared_by_the_names_of_labels_in_whatever_order_a_model_has_them(
    dataset: DatasetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = load_corpus(dataset)
    texts, labels = corpus.splits["validation"]["text"], corpus.splits["validation"]["label"]
    truth = {text: corpus.label_names[label] for text, label in zip(texts, labels, strict=True)}

    class Classifier:
        label_names = ("wet", "cold", "hot")

        def __init__(self, _: Path) -> None:
            pass

        def logits(self, texts: Sequence[str]) -> np.ndarray:
            return np.eye(3)[[self.label_names.index(truth[text]) for text in texts]]

    monkeypatch.setattr(measurement, "TextClassifier", Classifier)
    assert measure(tmp_path, corpus, "champion").accuracy == 1


def test_the_floor_is_the_constant_that_is_right_most_often(dataset: DatasetConfig) -> None:
    corpus = load_corpus(dataset)
    labels = np.array(corpus.splits["validation"]["label"])
    floor = most_frequent_class(corpus)
    assert floor.right.mean() == np.bincount(labels).max() / len(labels)
    name = corpus.label_names[np.bincount(labels).argmax()]
    assert floor.name == f"that of answering {name} to everything"


def test_the_linear_model_of_a_run_is_its_floor(dataset: DatasetConfig, tmp_path: Path) -> None:
    corpus = load_corpus(dataset)
    rows = corpus.splits["train"]
    labels = [corpus.label_names[label] for label in rows["label"]]
    linear.save(linear.train(rows["text"], labels, BaselineConfig(), 0), tmp_path / "linear")
    floor = floor_of(tmp_path / "linear", corpus)
    assert floor.name == "that of the linear model"
    assert floor.right.mean() > 0.9
    assert floor_of(None, corpus).name.startswith("that of answering ")
