from pathlib import Path

import pytest
import torch

from pipeline.config.schema import TrainerConfig
from pipeline.errors import PipelineError
from pipeline.training.checkpoints import (
    Checkpoints,
    PhaseEnd,
    open_checkpoints,
    restore_weights,
    save_weights,
)

IDENTITY = {"trainer.seed": "42", "train (digest)": "a" * 16}


def opened(tmp_path: Path, identity: dict[str, str] = IDENTITY, **options: str) -> Checkpoints:
    return open_checkpoints(TrainerConfig(**options), identity, tmp_path / "scratch")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with two checkpoints of a phase that was interrupted."""
    folder = tmp_path / "kept"
    opened(tmp_path, output_dir=str(folder))
    for step in (8, 16):
        (folder / "finetune" / f"checkpoint-{step}").mkdir(parents=True)
    return folder


def test_a_run_that_keeps_none_has_its_checkpoints_in_scratch(tmp_path: Path) -> None:
    checkpoints = opened(tmp_path)
    assert checkpoints.folder == tmp_path / "scratch" / "checkpoints"
    assert checkpoints.last("finetune") is None
    assert checkpoints.end("finetune") is None


def test_the_newest_checkpoint_goes_on_unless_another_is_chosen(tmp_path: Path, kept: Path) -> None:
    newest = opened(tmp_path, resume_from_checkpoint=str(kept))
    assert newest.last("finetune") == kept / "finetune" / "checkpoint-16"
    assert newest.last("qat") is None
    chosen = opened(tmp_path, resume_from_checkpoint=str(kept / "finetune" / "checkpoint-8"))
    assert chosen.folder == kept
    assert chosen.last("finetune") == kept / "finetune" / "checkpoint-8"
    assert chosen.last("qat") is None


def test_a_phase_that_has_ended_is_taken_over_with_its_weights(tmp_path: Path, kept: Path) -> None:
    weights = {"w": torch.tensor([1.0, 2.0])}
    end = PhaseEnd(weights, steps=16, seconds=1.5, history=[{"loss": 0.5, "step": 16}])
    opened(tmp_path, resume_from_checkpoint=str(kept)).write_end("finetune", end)
    resumed = opened(tmp_path, resume_from_checkpoint=str(kept)).end("finetune")
    assert resumed is not None
    assert (resumed.steps, resumed.seconds, resumed.history) == (16, 1.5, end.history)
    torch.testing.assert_close(resumed.weights, weights)
    chosen = opened(tmp_path, resume_from_checkpoint=str(kept / "finetune" / "checkpoint-8"))
    assert chosen.end("finetune") is None, "it is trained on from the chosen checkpoint"


def test_an_end_that_was_not_written_whole_does_not_count(tmp_path: Path, kept: Path) -> None:
    checkpoints = opened(tmp_path, resume_from_checkpoint=str(kept))
    save_weights({"w": torch.ones(1)}, kept / "finetune" / "end")
    assert checkpoints.end("finetune") is None


def test_checkpoints_of_other_weights_are_refused_with_the_key(tmp_path: Path, kept: Path) -> None:
    other = {**IDENTITY, "trainer.seed": "1"}
    with pytest.raises(PipelineError, match=r"there trainer.seed=42, here 1\.$"):
        opened(tmp_path, other, resume_from_checkpoint=str(kept))


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_checkpoints_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PipelineError, match="holds no checkpoints of a run"):
        opened(tmp_path, resume_from_checkpoint=str(tmp_path / name))


def test_a_taken_folder_is_refused_and_says_how_to_go_on(tmp_path: Path, kept: Path) -> None:
    with pytest.raises(PipelineError, match=f"trainer.resume_from_checkpoint={kept}"):
        opened(tmp_path, output_dir=str(kept))
    with pytest.raises(PipelineError, match="leave it out"):
        opened(tmp_path, resume_from_checkpoint=str(kept), output_dir=str(tmp_path / "other"))


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
