import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.baseline import linear
from pipeline.baseline.linear import MODEL_FILE, NEVER, LinearClassifier, save, train
from pipeline.config.schema import BaselineConfig
from pipeline.errors import PipelineError

TEXTS = ["snow and ice", "ice and frost", "sun and fire", "fire and desert"]
LABELS = ["cold", "cold", "hot", "hot"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(train(TEXTS, LABELS, BaselineConfig(), seed=0), tmp_path / "linear")
    return tmp_path / "linear"


def test_the_stored_model_answers_with_probabilities_in_the_order_of_the_labels(
    folder: Path,
) -> None:
    classifier = LinearClassifier(folder)
    logits = classifier.logits(["ice", "fire"], ["hot", "cold"])
    assert logits.argmax(-1).tolist() == [1, 0]
    assert np.exp(logits).sum(-1) == pytest.approx(1)
    assert logits.dtype == np.float32


def test_texts_are_scored_a_part_at_a_time_and_alike(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, texts = LinearClassifier(folder), [*TEXTS, "", "ice and fire", "unknown"]
    at_once = classifier.logits(texts, ["hot", "wet", "cold"])
    monkeypatch.setattr(linear, "SCORED_AT_ONCE", 3)
    assert np.array_equal(classifier.logits(texts, ["hot", "wet", "cold"]), at_once)


def test_a_class_that_no_training_text_has_is_never_the_answer(folder: Path) -> None:
    logits = LinearClassifier(folder).logits(["ice", "", "unknown"], ["cold", "hot", "wet"])
    assert (logits[:, 2] == NEVER).all()
    assert np.isfinite(logits).all()


def test_it_learns_a_real_table_and_the_same_one_twice(micro_corpus: Path, tmp_path: Path) -> None:
    rows, test = (pd.read_csv(micro_corpus / f"{split}.csv") for split in ("train", "test"))
    answers = []
    for name in ("first", "second"):
        save(train(list(rows["text"]), list(rows["label"]), BaselineConfig(), 0), tmp_path / name)
        logits = LinearClassifier(tmp_path / name).logits(test["text"], ["cold", "hot", "wet"])
        answers.append(logits)
    predicted = np.array(["cold", "hot", "wet"])[answers[0].argmax(-1)]
    assert (predicted == test["label"]).mean() > 0.95
    assert np.array_equal(*answers)


def test_texts_without_words_are_learned_by_their_characters(tmp_path: Path) -> None:
    texts = ["\U0001f600 !", "\U0001f600\U0001f600", "\U0001f622 ?", "\U0001f622\U0001f622"]
    save(train(texts, ["glad", "glad", "sad", "sad"], BaselineConfig(), 0), tmp_path / "linear")
    logits = LinearClassifier(tmp_path / "linear").logits(["\U0001f622 !"], ["glad", "sad"])
    assert logits.argmax() == 1


def test_texts_without_a_common_feature_are_told_with_a_way_out() -> None:
    with pytest.raises(PipelineError, match=r"cannot be trained: .*baseline.min_df, or .*=none"):
        train(TEXTS, LABELS, BaselineConfig(min_df=50), 0)


def test_of_many_texts_some_are_taken_by_the_seed() -> None:
    texts = [f"{word} {number}" for number in range(100) for word in ("ice", "fire")]
    labels = ["cold", "hot"] * 100
    config = BaselineConfig(word_ngram_range=[1, 1], max_train_samples=50)
    first, again, other = (
        train(texts, labels, config, seed)[0].transformer_list[0][1].vocabulary_
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert len(first) <= 52


def test_the_rarest_features_are_left_out_where_there_would_be_too_many_coefficients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "MOST_COEFFICIENTS", 20)
    model = train(TEXTS, LABELS, BaselineConfig(), seed=0)
    words, characters = (each.vocabulary_ for _, each in model[0].transformer_list)
    assert (len(words), len(characters)) == (5, 5)
    assert {"and", "ice", "fire"} <= words.keys()
    save(model, tmp_path / "linear")
    logits = LinearClassifier(tmp_path / "linear").logits(TEXTS, ["cold", "hot"])
    assert logits.argmax(-1).tolist() == [0, 0, 1, 1]


def test_a_file_that_would_run_code_is_refused(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (proof,))

    (folder / MODEL_FILE).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(PipelineError, match="holds no linear model"):
        LinearClassifier(folder)
    schema = (
        """{"__class__": "system", "__module__": "os", "__loader__": "TypeNode", "protocol": 2}"""
    )
    with zipfile.ZipFile(folder / MODEL_FILE, "w") as file:
        file.writestr("schema.json", schema)
    with pytest.raises(PipelineError, match=r"types that are not trusted: os.system"):
        LinearClassifier(folder)
    (folder / MODEL_FILE).unlink()
    with pytest.raises(PipelineError, match="holds no linear model"):
        LinearClassifier(folder)
    assert not proof.exists()


def test_a_solver_that_stops_before_it_converges_says_so(caplog: pytest.LogCaptureFixture) -> None:
    train(TEXTS, LABELS, BaselineConfig(), 0)
    assert not caplog.messages
    train(TEXTS, LABELS, BaselineConfig(max_iter=1), 0)
    assert caplog.messages == [
        "linear model: not converged after 1 iterations; a larger baseline.max_iter helps"
    ]
