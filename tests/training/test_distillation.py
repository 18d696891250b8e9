from types import SimpleNamespace

import datasets
import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import TEACHER_HIDDEN_STATE, TEACHER_LOGITS
from pipeline.training.distillation import Teaching
from pipeline.training.loss import hidden_state_distance


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
        Teaching(answers, {}, None).check_width(model)
    model.config.hidden_size = 3
    Teaching(answers, {}, None).check_width(model)
