from pathlib import Path

import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.training.checkpoint_files import restore_weights, save_weights


def test_weights_come_back_without_a_pickle(tmp_path: Path) -> None:
    model, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    save_weights(model.state_dict(), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    restore_weights(other, tmp_path)
    torch.testing.assert_close(other.weight, model.weight)


def test_weights_of_another_shape_or_a_damaged_file_are_refused(tmp_path: Path) -> None:
    save_weights(torch.nn.Linear(3, 2).state_dict(), tmp_path)
    with pytest.raises(PipelineError, match="cannot be restored"):
        restore_weights(torch.nn.Linear(4, 2), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(PipelineError, match="cannot be restored"):
        restore_weights(torch.nn.Linear(3, 2), tmp_path)


class Stubborn(torch.nn.Linear):
    """A module that takes no weights, as fake-quantization in a wrong state would."""

    def _load_from_state_dict(self, *_: object) -> None:
        pass


def test_weights_that_do_not_arrive_are_told(tmp_path: Path) -> None:
    save_weights(torch.nn.Linear(3, 2).state_dict(), tmp_path)
    with pytest.raises(PipelineError, match="weight has other values in the model"):
        restore_weights(Stubborn(3, 2), tmp_path)
