import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from pipeline.config.schema import (
    DatasetConfig,
    ModelConfig,
    TrainerConfig,
)
from pipeline.data.tokens import collator
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import Evaluator
from pipeline.models.artifact import load, save_artifact
from pipeline.models.load import Pretrained, load_model
from pipeline.training import train_phase
from pipeline.training.arguments import training_arguments
from pipeline.training.learning import STEPS_OF_RESTART, NothingLearnedError
from pipeline.training.phases import Phase
from pipeline.training.stage import Stage
from pipeline.training.trainer import PhaseTrainer
from tests.training.conftest import Curve


def test_curves_count_steps_over_the_phases(trained: Callable[..., tuple[Stage, Curve]]) -> None:
    done, curve = trained(quantize=False)
    assert done.steps == 8
    assert [step for step, entries in curve if "train/loss" in entries] == [102, 104, 106, 108]
    last_step, last = curve[-1]
    assert last_step == 108
    assert set(last) == {"validation/accuracy", "validation/loss", "validation/f1_macro"}


def test_a_float_phase_has_no_statistics_and_stays_float(
    trained: Callable[..., tuple[Stage, Curve]],
) -> None:
    done, _ = trained(quantize=False)
    assert not done.quantized
    assert done.op_statistics == ()
    assert all(parameter.dtype == torch.float32 for parameter in done.model.parameters())


@pytest.mark.parametrize("quantize", [False, True])
def test_bfloat16_is_for_the_forward_pass_of_training_alone(
    trained: Callable[..., tuple[Stage, Curve]],
    monkeypatch: pytest.MonkeyPatch,
    quantize: bool,
) -> None:
    seen: set[tuple[bool, torch.dtype]] = set()

    def note(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        seen.add((module.training, output.dtype))

    compute_loss = PhaseTrainer.compute_loss

    def noting(trainer: PhaseTrainer, model: torch.nn.Module, *args: object, **options: object):
        handle = model.bert.encoder.layer[0].output.dense.register_forward_hook(note)
        result = compute_loss(trainer, model, *args, **options)
        handle.remove()
        return result

    monkeypatch.setattr(PhaseTrainer, "compute_loss", noting)
    done, curve = trained(quantize=quantize, bf16=True)
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}
    assert all(weight.dtype != torch.bfloat16 for weight in done.float_state.values())
    assert curve[-1][1]["validation/accuracy"] > 0.9, "it learned"


def test_the_mixed_precision_statistics_come_as_data(
    trained: Callable[..., tuple[Stage, Curve]],
) -> None:
    done, _ = trained(quantize=True)
    by_type = {row.op_type: row for row in done.op_statistics}
    assert (by_type["Embedding"].total, by_type["Embedding"].int8) == (3, 3)
    # 2 layers of 6 Linear each, the pooler and the classifier.
    assert (by_type["Linear"].total, by_type["Linear"].int8) == (14, 14)
    assert all(row.total == row.int8 + row.bf16 + row.fp32 for row in done.op_statistics)


def test_an_op_type_can_stay_in_fp32(trained: Callable[..., tuple[Stage, Curve]]) -> None:
    done, _ = trained(quantize=True, fp32_op_types=("Embedding",))
    by_type = {row.op_type: row for row in done.op_statistics}
    assert (by_type["Embedding"].int8, by_type["Embedding"].fp32) == (0, 3)
    assert (by_type["Linear"].int8, by_type["Linear"].fp32) == (14, 0)


def test_an_op_left_in_fp32_does_not_become_bf16_where_the_cpu_has_it(
    trained: Callable[..., tuple[Stage, Curve]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_BF16", "1")  # Neural Compressor's switch
    done, _ = trained(quantize=True, fp32_op_types=("Linear",))
    by_type = {row.op_type: row for row in done.op_statistics}
    assert (by_type["Linear"].bf16, by_type["Linear"].fp32) == (0, 14)
    assert not [
        name for name, module in done.model.named_modules() if "BF16" in type(module).__name__
    ]


def test_the_seed_decides_data_order_and_dropout_of_a_quantizing_phase_too(
    trained: Callable[..., tuple[Stage, Curve]],
) -> None:
    losses = [
        [
            entries["train/loss"]
            for _, entries in trained(quantize=True, seed=seed)[1]
            if "train/loss" in entries
        ]
        for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_the_float_weights_are_those_before_conversion(
    trained: Callable[..., tuple[Stage, Curve]], micro_model: Path
) -> None:
    done, _ = trained(quantize=True)
    plain = load_model(ModelConfig(str(micro_model)), ("cold", "hot", "wet")).model
    restored = done.float_model(plain.config)
    assert set(done.float_state) == set(plain.state_dict())
    assert not torch.equal(restored.classifier.weight, plain.classifier.weight)
    quantized = done.model.classifier.module.weight().dequantize()
    torch.testing.assert_close(restored.classifier.weight.detach(), quantized, atol=0.05, rtol=0.1)


def test_evaluate_after_a_quantizing_phase_measures_the_converted_model(
    trained: Callable[..., tuple[Stage, Curve]],
    data: DatasetConfig,
    tokens: Mapping[str, datasets.Dataset],
    micro_model: Path,
) -> None:
    done, curve = trained(quantize=True)
    collate = collator(AutoTokenizer.from_pretrained(micro_model), data)
    evaluator = Evaluator(tokens["validation"], collate, 16)
    assert done.evaluate() == pytest.approx(evaluator.figures(done.model))
    assert curve[-1][0] == 108, "evaluate() adds no point to the validation curve"


@pytest.mark.parametrize("short", [True, False])
def test_the_saved_int8_model_answers_as_the_one_in_memory(
    tmp_path: Path,
    trained: Callable[..., tuple[Stage, Curve]],
    data: DatasetConfig,
    tokens: Mapping[str, datasets.Dataset],
    micro_model: Path,
    short: bool,
) -> None:
    done, _ = trained(quantize=True, short=short)
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    reloaded = load(save_artifact("int8", done.save, tokenizer, tmp_path / "int8"))
    evaluator = Evaluator(tokens["test"], collator(tokenizer, data), 16)
    np.testing.assert_array_equal(evaluator.logits(reloaded), evaluator.logits(done.model))


def test_the_last_digit_of_a_figure_does_not_throw_a_trained_phase_away(
    trained: Callable[..., tuple[Stage, Curve]], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = PhaseTrainer.evaluate

    def evaluated(self: PhaseTrainer, **options: str) -> dict[str, float]:
        figures = evaluate(self, **options)
        later = options.get("metric_key_prefix") == "after_training"
        return {name: value + 1e-9 * later for name, value in figures.items()}

    monkeypatch.setattr(PhaseTrainer, "evaluate", evaluated)
    options = {"metric_for_best_model": "loss", "save_strategy": "epoch"}
    done, _ = trained(quantize=True, load_best_model_at_end=True, **options)
    assert done.quantized


@pytest.mark.parametrize(
    ("fails", "kept"), [("_save_rng_state", []), ("_rotate_checkpoints", ["checkpoint-8"])]
)
def test_a_checkpoint_that_cannot_be_written_is_told_and_no_half_is_left_behind(
    trained: Callable[..., tuple[Stage, Curve]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
    kept: list[str],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PhaseTrainer, fails, full)
    with pytest.raises(PipelineError, match="checkpoint-8 cannot be written: a disk is full"):
        trained(quantize=False, save_strategy="epoch", output_dir=str(tmp_path))
    assert [folder.name for folder in tmp_path.rglob("checkpoint-*")] == kept


def test_a_phase_that_learns_nothing_starts_again_with_a_lower_rate(
    trained: Callable[..., tuple[Stage, Curve]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds: list[float] = []
    train = PhaseTrainer.train

    def timed(trainer: PhaseTrainer, **options: object) -> object:
        started = time.perf_counter()
        try:
            return train(trainer, **options)
        finally:
            seconds.append(time.perf_counter() - started)

    monkeypatch.setattr(PhaseTrainer, "train", timed)
    done, curve = trained(quantize=True, learning_rate=0.03, num_train_epochs=26)
    lines = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert lines
    assert re.match(
        r"phase test has learned nothing in 100 steps .*; it starts again at 0\.01", lines[0]
    )
    assert json.loads((tmp_path / "test/given_up.json").read_text()) == [100] * len(lines)
    assert done.steps == 208 + 100 * len(lines)
    *given_up, last = seconds
    assert len(given_up) == len(lines)
    assert done.figures["time/test_s"] > sum(given_up) + 0.5 * last, "the time of all attempts"
    steps = [step for step, entries in curve if "train/loss" in entries]
    assert steps == sorted(set(steps)), "the points of all attempts follow each other"
    assert done.evaluate()["accuracy"] > 0.5


def test_who_is_given_up_gets_a_lower_rate_and_more_time_and_is_left_alone_at_last(
    trained: Callable[..., tuple[Stage, Curve]], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[tuple[float, list[int]]] = []
    train = train_phase._train

    def slow(start: Pretrained, phase: Phase, *others: Any) -> Stage:
        watches = others[-1].watches
        attempts.append((phase.trainer.learning_rate, [each._grace_steps for each in watches]))
        if watches:
            raise NothingLearnedError(100, 0.7, 0.69)
        return train(start, phase, *others)

    monkeypatch.setattr(train_phase, "_train", slow)
    trained(quantize=False, learning_rate=0.009)
    rates, graces = zip(*attempts, strict=True)
    assert rates == pytest.approx((0.009, 0.003, 0.001))
    assert graces == ([0], [STEPS_OF_RESTART], [])


def test_a_loss_that_is_not_finite_stops_with_the_step(
    trained: Callable[..., tuple[Stage, Curve]],
) -> None:
    with pytest.raises(
        PipelineError,
        match=r"the training loss became nan at step \d+ .* lower trainer.learning_rate",
    ):
        trained(quantize=False, learning_rate=1e30, max_grad_norm=0.0, optim="sgd")


@pytest.mark.parametrize(
    ("given", "terminal", "expected"),
    [(None, True, False), (None, False, True), (False, False, False)],
)
def test_a_progress_bar_is_for_terminals_unless_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: bool | None,
    terminal: bool,
    expected: bool,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    assert training_arguments(TrainerConfig(disable_tqdm=given), tmp_path).disable_tqdm is expected


def test_no_more_processes_load_data_than_there_are_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.arguments.available_cpus", lambda: 2)
    for asked, taken in ((1, 1), (8, 2)):
        config = TrainerConfig(dataloader_num_workers=asked)
        assert training_arguments(config, tmp_path).dataloader_num_workers == taken
