from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch

from pipeline.data.corpus import Corpus
from pipeline.data.transfer import TRANSFER
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import TEACHER_HIDDEN_STATE, TEACHER_LOGITS
from pipeline.evaluation.results import Answers, result_of
from pipeline.models.artifact import Artifact
from pipeline.names import TRAIN, UNLABELLED
from pipeline.training.loss import hidden_state_distance
from pipeline.training.teaching import Teaching

ANSWERS = Answers(np.eye(2, dtype=np.float32), np.arange(2))
RESULT = result_of(Artifact("teacher", Path()), ANSWERS, ANSWERS)


def test_hidden_states_are_compared_without_their_scale_and_shift() -> None:
    teacher = torch.tensor([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    assert hidden_state_distance(5 * teacher + 1, teacher) == pytest.approx(0, abs=1e-4)
    assert hidden_state_distance(-teacher, teacher) == pytest.approx(4, abs=1e-3)


def test_hidden_states_of_another_width_are_refused() -> None:
    answers = datasets.Dataset.from_dict(
        {TEACHER_LOGITS: [[0.0, 1.0]], TEACHER_HIDDEN_STATE: [[0.0, 1.0, 2.0]]}
    )
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=2))
    with pytest.raises(PipelineError, match="are 3 wide, the model's 2; 0 leaves them out"):
        Teaching(answers, RESULT, None).check_width(model)
    model.config.hidden_size = 3
    Teaching(answers, RESULT, None).check_width(model)


def test_other_texts_come_after_train_with_the_labels_of_the_teacher() -> None:
    def rows(ids: list[int], labels: list[int]) -> datasets.Dataset:
        return datasets.Dataset.from_dict({"labels": labels, "input_ids": [[i] for i in ids]})

    tokens = {TRAIN: rows([1, 2], [1, 1]), UNLABELLED: rows([3], [0])}
    made = {TRANSFER: rows([4, 5], [0, 0])}
    logits = [[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 3.0]]
    transfer = Corpus("micro", ("no", "yes"), {}, "here")
    teaching = Teaching(
        datasets.Dataset.from_dict({TEACHER_LOGITS: logits}), RESULT, None, transfer
    )
    joined = teaching.join(tokens, lambda corpus: made)
    assert joined["input_ids"] == [[1], [2], [3], [4], [5]]
    assert joined["labels"] == [1, 1, 1, 0, 1], "those of train, then the teacher's"
    assert joined[TEACHER_LOGITS] == logits
