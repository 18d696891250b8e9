import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.inference.classifier import TextClassifier, pad, probabilities

STORED = Path(__file__).parent / "model_of_0_1_0/artifacts/onnx_int8"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "model"))


def test_rows_are_padded_to_the_longest_and_the_mask_says_where() -> None:
    ids, mask = pad([[5, 6, 7], [8]], pad_token_id=9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert ids.dtype == mask.dtype == np.int64


def test_probabilities_survive_large_logits() -> None:
    rows = probabilities(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))
    np.testing.assert_allclose(rows, [[0.5, 0.5], [0.0, 1.0]])


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("kept", [0, 0.5, None])
def test_a_file_that_is_cut_or_missing_is_named_in_one_line(
    model: Path, name: str, kept: float | None
) -> None:
    file = model / name
    content = file.read_bytes()
    file.unlink()
    if kept is not None:
        file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(PipelineError) as caught:
        TextClassifier(model)
    assert name in str(caught.value)
    assert str(model) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({}, "config.json lacks a number pad_token_id."),
        ([], "config.json lacks a number pad_token_id."),
        ({"pad_token_id": None}, "config.json lacks a number pad_token_id."),
        ({"pad_token_id": 0}, "config.json lacks the labels, id2label, from 0 on."),
        ({"pad_token_id": 0, "id2label": 7}, "config.json lacks the labels"),
        ({"pad_token_id": 0, "id2label": {"1": "a"}}, "config.json lacks the labels"),
        ({"pad_token_id": 0, "id2label": {"0": "a"}}, "3 scores, and its config.json has 1 labels"),
    ],
)
def test_a_config_of_another_model_is_refused(model: Path, config: object, line: str) -> None:
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(PipelineError, match=line):
        TextClassifier(model)


def test_a_tokenizer_of_another_model_is_refused(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = {
        token: 10**6 + place for token, place in tokenizer["model"]["vocab"].items()
    }
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(PipelineError, match="does not take the tokens of its tokenizer.json"):
        TextClassifier(model)


def test_batches_can_be_left_in_between_and_give_every_text_its_logits() -> None:
    classifier = TextClassifier(STORED)
    texts = [f"snow {'and ice ' * (number % 5)}" for number in range(50)]
    rows = [row for rows, logits in classifier.batches(texts) for row in rows]
    assert sorted(rows) == list(range(50))
    alone = np.concatenate([classifier.logits([text]) for text in texts])
    np.testing.assert_allclose(classifier.logits(texts), alone, atol=0.05)
    assert classifier.logits([]).shape == (0, 3)


@pytest.mark.parametrize("calls", [1, 3])
def test_a_stream_of_texts_has_each_with_its_own_answer_and_is_read_as_needed(
    calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.inference.classifier.WINDOW", 64)
    classifier = TextClassifier(STORED, threads=1, calls=calls)
    texts = [
        " ".join(["snow", "sun", "rain"][: 1 + index % 3]) + "!" * (index % 7)
        for index in range(500)
    ]
    read: list[str] = []

    def as_read() -> Iterator[str]:
        for text in texts:
            read.append(text)
            yield text

    stream = classifier.stream(as_read())
    first_text, first = next(stream)
    assert len(read) <= 2 * 64
    answers = [(first_text, first), *stream]
    assert [text for text, _ in answers] == texts
    expected = probabilities(classifier.logits(texts))
    assert np.array_equal(np.stack([row for _, row in answers]), expected)


def test_answers_before_a_text_that_cannot_be_read_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.inference.classifier.WINDOW", 64)
    classifier = TextClassifier(STORED, threads=1, calls=2)

    def unreadable() -> Iterator[str]:
        yield from ["snow"] * 70
        raise PipelineError("line 71 is not UTF-8")

    answered = []
    with pytest.raises(PipelineError, match="line 71"):
        answered.extend(text for text, _ in classifier.stream(unreadable()))
    for text, _ in classifier.stream(iter(["snow"] * 64)):
        assert text == "snow"


def test_a_stream_that_is_left_works_on_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = TextClassifier(STORED, threads=1, calls=2)
    session, calls = classifier._session, []

    def slow(*inputs: np.ndarray) -> np.ndarray:
        calls.append(1)
        time.sleep(0.02)
        return session(*inputs)

    monkeypatch.setattr(classifier, "_session", slow)
    stream = classifier.stream(f"snow {'ice ' * (row % 9)}" for row in range(40_000))
    next(stream)
    after_the_first = len(calls)
    stream.close()
    assert len(calls) <= after_the_first + 2
