from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.inference.classifier import (
    check_text,
    open_session,
    pad,
    probabilities,
    refuse_pickles,
)


def test_rows_are_padded_to_the_longest_and_the_mask_says_where() -> None:
    ids, mask = pad([[5, 6, 7], [8]], pad_token_id=9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert ids.dtype == mask.dtype == np.int64


def test_probabilities_survive_large_logits() -> None:
    rows = probabilities(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))
    np.testing.assert_allclose(rows, [[0.5, 0.5], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" \t", "text 1 is empty."),
        (7, "text 1 is int, not text."),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "text 1 is not UTF-8."),
        ("a" * 100_001, "text 1 has 100,001 characters; at most 100,000 are accepted."),
    ],
)
def test_what_is_no_text_is_refused(text: object, line: str) -> None:
    with pytest.raises(PipelineError, match=line):
        check_text(text, "text 1")


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "training_args.bin",
        "model.pt",
        "nested/code.pkl",
        "x.joblib",
        "last.CKPT",
    ],
)
def test_a_pickle_anywhere_in_a_directory_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(PipelineError, match=f"holds {Path(name).name}, a pickle"):
        refuse_pickles(tmp_path)


def test_a_directory_that_is_no_model_is_not_searched(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.pkl").touch()
    with pytest.raises(PipelineError, match="holds neither"):
        open_session(tmp_path)


def test_openvinos_weights_are_no_pickle(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.bin").touch()
    refuse_pickles(tmp_path)


def test_a_directory_without_a_model_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        PipelineError,
        match=r"holds neither model.onnx nor openvino_model.xml; it holds: notes.txt.",
    ):
        open_session(tmp_path)
