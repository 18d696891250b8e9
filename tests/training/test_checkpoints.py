import contextlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch

from pipeline.config.schema import Config, PruningConfig, SweepConfig, TrainerConfig
from pipeline.errors import PipelineError
from pipeline.training.checkpoint_files import ARCHIVES, TRAINER_STATE_NAME, save_weights
from pipeline.training.checkpoints import Checkpoints, PhaseEnd, open_checkpoints

IDENTITY = {"trainer.seed": "42", "train (digest)": "a" * 16}


def opened(tmp_path: Path, identity: dict[str, str] = IDENTITY, **options: str) -> Checkpoints:
    config = Config(trainer=TrainerConfig(**options))
    with open_checkpoints(config, identity, tmp_path / "scratch") as checkpoints:
        return checkpoints


def write_checkpoint(folder: Path) -> None:
    save_weights({"w": torch.ones(2)}, folder)
    for name in ARCHIVES:
        torch.save({"w": torch.ones(2)}, folder / name)
    (folder / TRAINER_STATE_NAME).write_text('{"global_step": 8}')


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with two checkpoints of a phase that was interrupted."""
    folder = tmp_path / "kept"
    opened(tmp_path, output_dir=str(folder))
    for step in (8, 16):
        write_checkpoint(folder / "finetune" / f"checkpoint-{step}")
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


def test_an_end_that_cannot_be_read_is_trained_again(tmp_path: Path, kept: Path) -> None:
    checkpoints = opened(tmp_path, resume_from_checkpoint=str(kept))
    checkpoints.write_end("finetune", PhaseEnd({"w": torch.ones(1)}, 16, 1.5, []))
    (kept / "finetune/end/phase.json").write_text('{"steps": 1')
    assert checkpoints.end("finetune") is None


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("trainer_state.json", Path.unlink),
        ("trainer_state.json", lambda file: file.write_text('{"global_step"')),
        ("trainer_state.json", lambda file: file.write_text("")),
        ("rng_state.pth", Path.unlink),
        ("optimizer.pt", cut_off),
        ("scheduler.pt", lambda file: file.write_bytes(b"")),
        ("model.safetensors", lambda file: file.write_bytes(file.read_bytes()[:-1])),
        ("model.safetensors", Path.unlink),
    ],
)
def test_the_newest_checkpoint_that_is_whole_goes_on(
    tmp_path: Path, kept: Path, name: str, harm: object, caplog: pytest.LogCaptureFixture
) -> None:
    newest = kept / "finetune" / "checkpoint-16"
    harm(newest / name)
    checkpoints = opened(tmp_path, resume_from_checkpoint=str(kept))
    assert checkpoints.last("finetune") == kept / "finetune" / "checkpoint-8"
    assert "checkpoint-16 was not written whole: " in caplog.text
    assert name in caplog.text
    with pytest.raises(PipelineError, match="checkpoint-16 was not written whole"):
        opened(tmp_path, resume_from_checkpoint=str(newest))
    shutil.rmtree(newest.with_name("checkpoint-8"))
    assert checkpoints.last("finetune") is None, "the phase begins anew"


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


def test_an_identity_that_was_not_written_whole_is_none(tmp_path: Path, kept: Path) -> None:
    (kept / "experiment.json").write_text('{"trainer.seed": ')
    with pytest.raises(PipelineError, match="holds no checkpoints of a run"):
        opened(tmp_path, resume_from_checkpoint=str(kept))


def of_job(tmp_path: Path, seed: int = 1, sweep: str = "a", **options: object) -> Config:
    return Config(
        trainer=TrainerConfig(output_dir=str(tmp_path / "kept"), seed=seed),
        sweep=SweepConfig(parent_run_id=sweep),
        **options,
    )


def test_each_job_of_a_sweep_has_a_folder_and_goes_on_in_it(tmp_path: Path) -> None:
    folders = set()
    for seed in (1, 2):
        with open_checkpoints(of_job(tmp_path, seed), IDENTITY, tmp_path) as first:
            assert not first.resumed
        with open_checkpoints(of_job(tmp_path, seed), IDENTITY, tmp_path) as again:
            assert (again.resumed, again.folder) == (True, first.folder)
        folders.add(first.folder)
    assert {folder.parent for folder in folders} == {tmp_path / "kept" / "a"}
    assert len(folders) == 2
    # sweep.fresh=true has another run, and other texts give other weights.
    with open_checkpoints(of_job(tmp_path, sweep="b"), IDENTITY, tmp_path) as fresh:
        assert not fresh.resumed
    other_texts = {**IDENTITY, "train (digest)": "b" * 16}
    with open_checkpoints(of_job(tmp_path), other_texts, tmp_path) as other:
        assert not other.resumed


def test_a_job_that_prunes_begins_anew(tmp_path: Path) -> None:
    config = of_job(tmp_path, pruning=PruningConfig())
    for _ in range(2):
        with open_checkpoints(config, IDENTITY, tmp_path) as checkpoints:
            assert not checkpoints.resumed


@pytest.mark.parametrize("sweep", [None, "a"])
def test_two_runs_at_once_never_share_a_folder(tmp_path: Path, sweep: str | None) -> None:
    starts, ends = Barrier(2), Barrier(2)
    config = of_job(tmp_path, sweep=sweep)

    def start(_: int) -> str:
        starts.wait(timeout=60)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(open_checkpoints(config, IDENTITY, tmp_path))
                return "opened"
            except PipelineError as error:
                return str(error)
            finally:
                ends.wait(timeout=60)

    for round_ in range(20):
        config.trainer.output_dir = str(tmp_path / str(round_))
        with ThreadPoolExecutor(2) as pool:
            first, second = sorted(pool.map(start, range(2)))
        assert "another run keeps its checkpoints" in first
        assert second == "opened"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match=r"checkpoints cannot be kept in .*: Not a directory"):
        opened(tmp_path, output_dir=str(tmp_path / "file" / "kept"))
