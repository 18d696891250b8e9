from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss
from transformers import AutoTokenizer

from pipeline.config.schema import DatasetConfig, ModelConfig
from pipeline.data.corpus import collator, load_corpus, tokenize
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import Result, check_export, label_metrics, predict_logits, score
from pipeline.models.artifact import Artifact
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


def test_the_confusion_keeps_the_rows_of_a_class_that_does_not_occur() -> None:
    assert score(np.eye(3, dtype=np.float32)[:2], np.array([0, 1])).confusion.shape == (3, 3)


def test_logits_come_in_the_order_of_the_texts(micro_model: Path, micro_corpus: Path) -> None:
    config = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=32)
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    corpus = load_corpus(config)
    tokens = tokenize(corpus, tokenizer, config)["test"]
    model = load_model(ModelConfig(str(micro_model)), corpus.label_names)
    logits = predict_logits(model, tokens, collator(tokenizer, config), batch_size=7)
    assert logits.shape == (60, 3)
    assert logits.dtype == np.float32
    for index in (0, 31, 59):
        with torch.inference_mode():
            alone = model.eval()(
                **tokenizer(corpus.splits["test"]["text"][index], return_tensors="pt")
            ).logits
        np.testing.assert_allclose(logits[index], alone[0], atol=1e-5)


LABELS = np.array([0, 1] * 50)


def exported(variant: str, wrong: int) -> Result:
    """A model that is wrong on the last rows."""
    predictions = LABELS.copy()
    predictions[len(LABELS) - wrong :] = 1 - predictions[len(LABELS) - wrong :]
    logits = np.eye(2, dtype=np.float32)[predictions]
    return Result(Artifact(variant, Path(variant)), logits, score(logits, LABELS))


def test_an_export_may_lose_a_little_accuracy_and_gain_any() -> None:
    trained = exported("int8", wrong=10)
    assert check_export(exported("onnx_int8", wrong=0), trained, LABELS, 0.0) == pytest.approx(0.1)
    worse = exported("onnx_int8", wrong=20)
    assert check_export(worse, trained, LABELS, 0.1) == pytest.approx(0.1)
    with pytest.raises(
        PipelineError,
        match=r"onnx_int8 has a test accuracy of 0.8000, 0.1000 below int8 .* not explain \(p = 0.002\); 10.00% of",
    ):
        check_export(worse, trained, LABELS, 0.05)


def test_a_loss_that_chance_explains_fails_no_run() -> None:
    # Five rows lost and none won: as likely as 1 in 16. Six are 1 in 32.
    trained = exported("int8", wrong=10)
    assert check_export(exported("onnx_int8", wrong=15), trained, LABELS, 0.0) == pytest.approx(
        0.05
    )
    with pytest.raises(PipelineError, match=r"p = 0.031"):
        check_export(exported("onnx_int8", wrong=16), trained, LABELS, 0.0)
