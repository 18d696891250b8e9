"""Runs that go on from a checkpoint, and runs that restore their best one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.conftest import Output, micro_rows
from tests.e2e.stored import runs
from tests.training.reference import cpu_with_vnni

Command = Callable[..., Output]
TIMES = ("time/", "latency", "throughput")


def figures(run: Run) -> dict[str, float]:
    return {name: value for name, value in run.data.metrics.items() if not name.startswith("time/")}


def curve(store: str, run: Run, name: str) -> list[tuple[int, float]]:
    return [
        (point.step, point.value)
        for point in MlflowClient(store).get_metric_history(run.info.run_id, name)
    ]


def forget(folder: Path, phase: str, after: int) -> None:
    """Leave of a phase what a run leaves that was killed after a checkpoint."""
    shutil.rmtree(folder / phase / "end", ignore_errors=True)
    for checkpoint in (folder / phase).glob("checkpoint-*"):
        if int(checkpoint.name.split("-")[1]) > after:
            shutil.rmtree(checkpoint)


@pytest.mark.parametrize(("grouped", "logging_steps"), [(True, 1), (False, 5)])
def test_a_run_that_goes_on_in_either_phase_ends_with_the_figures_of_one_that_was_not_interrupted(
    command: Command,
    micro: list[str],
    store: str,
    tmp_path: Path,
    grouped: bool,
    logging_steps: int,
) -> None:
    typed = [
        *micro,
        "trainer.save_strategy=steps",
        "trainer.save_steps=3",
        "trainer.save_total_limit=null",
        "qat.phases.qat.num_train_epochs=1",
        f"trainer.logging_steps={logging_steps}",
    ]
    typed += [
        f"trainer.group_by_length={grouped}",
        "qat.phases.qat.freeze_observers_after=0.6",
        "trainer.weight_decay=0.01",
    ]
    whole = tmp_path / "whole"
    assert command(*typed, f"trainer.output_dir={whole}").code == 0
    # 16 steps of fine-tuning and 8 of QAT, 8 batches an epoch: both cuts lie within an epoch, one
    # in the second, and between two points of the loss that is logged every 5 steps.
    for phase, after in (("finetune", 12), ("qat", 3)):
        cut = tmp_path / f"cut-{phase}"
        shutil.copytree(whole, cut)
        forget(cut, phase, after)
        if phase == "finetune":
            shutil.rmtree(cut / "qat")
        output = command(*typed, f"trainer.resume_from_checkpoint={cut}")
        assert output.code == 0, output.err
        assert f"phase {phase}: going on from checkpoint-{after}" in output.err
    first, *resumed = runs(store)
    assert len(resumed) == 2
    for run in resumed:
        assert figures(run) == figures(first)
        for name in ("train/loss", "train/learning_rate", "validation/accuracy", "validation/loss"):
            assert curve(store, run, name) == curve(store, first, name)
    if grouped:
        return
    # A repetition of either trains from the start, in a folder of its own.
    tracking = [item for item in micro if item.startswith("tracking.")]
    for run in (first, resumed[0]):
        output = command(f"rerun={run.info.run_id}", *tracking)
        assert output.code == 0, output.err
        assert "phase finetune: FP32" in output.err
        assert "going on" not in output.err


def test_no_pickled_weights_are_among_the_checkpoints(
    command: Command, micro: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    assert command(*micro, "trainer.save_strategy=epoch", f"trainer.output_dir={folder}").code == 0
    assert {path.name for path in (folder / "qat/checkpoint-4").iterdir()} == {
        "model.safetensors",
        "optimizer.pt",
        "rng_state.pth",
        "scheduler.pt",
        "trainer_state.json",
        "unlogged_loss.json",
    }


def test_checkpoints_of_another_config_or_of_none_are_refused(
    command: Command, micro: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    typed = [*micro, "trainer.save_strategy=epoch", "qat=none"]
    assert command(*typed, f"trainer.output_dir={folder}").code == 0
    again = command(*typed, f"trainer.output_dir={folder}")
    assert again.code == 2
    assert "holds the checkpoints of an earlier start; go on from them with" in again.error
    assert f"trainer.resume_from_checkpoint={folder}" in again.error
    other = command(
        *typed, f"trainer.resume_from_checkpoint={folder}", "trainer.learning_rate=1e-3"
    )
    assert other.code == 2
    differing = "there trainer.learning_rate=0.005, here 0.001."
    assert f"was trained with other settings: {differing}" in other.error
    nothing = command(*typed, f"trainer.resume_from_checkpoint={tmp_path / 'nothing'}")
    assert nothing.code == 2
    assert "holds no checkpoints of a run" in nothing.error


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_the_best_checkpoint_is_what_is_converted_and_early_stopping_stops(
    command: Command,
    micro: list[str],
    store: str,
    tmp_path: Path,
    metric: str,
) -> None:
    # Its labels contradict those of train: the more is learned, the worse it gets.
    rows = micro_rows(60, seed=1)
    rows["label"] = rows["label"].map({"cold": "hot", "hot": "wet", "wet": "cold"})
    rows.to_csv(tmp_path / "validation.csv", index=False)
    corpus = next(item.partition("=")[2] for item in micro if item.startswith("dataset.data_dir"))
    typed = [
        *(item for item in micro if not item.startswith("dataset.data_dir")),
        f"dataset.train_file={corpus}/train.csv",
        f"dataset.validation_file={tmp_path}/validation.csv",
        f"dataset.test_file={corpus}/test.csv",
        "qat=direct",
        "trainer.num_train_epochs=6",
    ]
    typed += [
        "trainer.load_best_model_at_end=true",
        "trainer.save_strategy=epoch",
        "trainer.early_stopping_patience=2",
    ]
    # With 7 bits, what lies beyond the range of the activations is cut in training, and has the
    # eighth bit in the converted model.
    with cpu_with_vnni():
        output = command(*typed, f"trainer.metric_for_best_model={metric}")
    assert output.code == 0, output.err
    (run,) = runs(store)
    points = curve(store, run, f"validation/{metric}")
    values = [value for step, value in points if step > 0]  # at 0, nothing is trained
    best = max(values) if metric == "accuracy" else min(values)
    assert len(values) < 6, "it stopped early"
    assert len(values) == values.index(best) + 3
    checkpoint = f"checkpoint-{8 * (values.index(best) + 1)}"
    assert f"restored the best checkpoint, {checkpoint}: validation {metric}" in output.err
    # INT8 may answer one text of 60 otherwise than the fake-quantized model; the last epochs were
    # worse by more.
    assert run.data.metrics[f"int8/validation_{metric}"] == pytest.approx(
        best, abs=0.02 if metric == "accuracy" else 0.05
    )


def test_a_folder_that_was_moved_has_its_best_checkpoint_with_it(
    command: Command, micro: list[str], store: str, tmp_path: Path
) -> None:
    typed = [*micro, "qat=none", "trainer.save_strategy=epoch", "trainer.save_total_limit=1"]
    typed += ["trainer.load_best_model_at_end=true", "trainer.learning_rate=3e-2"]
    assert command(*typed, f"trainer.output_dir={tmp_path / 'before'}").code == 0
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "before", moved)
    forget(moved, "finetune", after=16)
    output = command(*typed, f"trainer.resume_from_checkpoint={moved}")
    assert output.code == 0, output.err
    assert "restored the best checkpoint, " in output.err
    first, second = runs(store)
    assert figures(second) == figures(first)
