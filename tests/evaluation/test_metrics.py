from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss
from transformers import AutoTokenizer

from pipeline.config.schema import DatasetConfig, ModelConfig
from pipeline.data.corpus import load_corpus
from pipeline.data.tokens import collator, tokenize
from pipeline.evaluation.metrics import Evaluator, label_metrics, score
from pipeline.models.load import load_model


def test_the_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 4)).astype(np.float32), rng.integers(0, 4, 200)
    measured = score(logits, labels)
    predicted = logits.argmax(-1)
    probabilities = torch.softmax(torch.from_numpy(logits).double(), -1).numpy()
    assert measured.accuracy == accuracy_score(labels, predicted)
    assert measured.f1_macro == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert measured.loss == pytest.approx(
        log_loss(labels, probabilities, labels=range(4)), rel=1e-5
    )
    assert measured.confusion.sum() == 200
    assert measured.confusion[2, 1] == ((labels == 2) & (predicted == 1)).sum()


def test_a_class_that_is_never_predicted_counts_as_zero_in_macro_f1() -> None:
    figures = label_metrics(np.array([0, 0, 0, 0]), np.array([0, 0, 1, 1]))
    assert figures == {"accuracy": 0.5, "f1_macro": pytest.approx(1 / 3)}


def test_a_stray_answer_does_not_change_the_classes_that_macro_f1_averages_over() -> None:
    labels = np.array([0] * 10 + [1] * 10)
    stray = labels.copy()
    stray[0] = 2  # a class that this split lacks
    f1_of_class_0 = 2 * 9 / (2 * 9 + 1)
    assert label_metrics(stray, labels)["f1_macro"] == pytest.approx((f1_of_class_0 + 1) / 2)


def test_the_confusion_keeps_the_rows_of_a_class_that_does_not_occur() -> None:
    assert score(np.eye(3, dtype=np.float32)[:2], np.array([0, 1])).confusion.shape == (3, 3)


def test_logits_come_in_the_order_of_the_texts(micro_model: Path, micro_corpus: Path) -> None:
    config = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=32)
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    corpus = load_corpus(config)
    tokens = tokenize(corpus, tokenizer, config)["test"]
    model = load_model(ModelConfig(str(micro_model)), corpus.label_names).model
    evaluator = Evaluator(tokens, collator(tokenizer, config), batch_size=7)
    logits = evaluator.logits(model)
    assert logits.shape == (60, 3)
    assert logits.dtype == np.float32
    for index in (0, 31, 59):
        with torch.inference_mode():
            alone = model.eval()(
                **tokenizer(corpus.splits["test"]["text"][index], return_tensors="pt")
            ).logits
        np.testing.assert_allclose(logits[index], alone[0], atol=1e-5)
    right = logits.argmax(-1) == np.array(corpus.splits["test"]["label"])
    assert evaluator.figures(model)["accuracy"] == pytest.approx(right.mean())
