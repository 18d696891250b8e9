"""A quantizing phase keeps its start, and ends there if it makes nothing better."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from pipeline.config.schema import (
    DatasetConfig,
    ModelConfig,
)
from pipeline.data.tokens import collator
from pipeline.evaluation.metrics import Evaluator
from pipeline.models.load import load_model
from pipeline.training.phase_start import read_start
from pipeline.training.stage import Stage
from tests.training.conftest import Curve

BY_EPOCH = {"load_best_model_at_end": True, "save_strategy": "epoch"}
BY_STEPS = {
    "load_best_model_at_end": True,
    "eval_strategy": "steps",
    "save_strategy": "steps",
    "eval_steps": 2,
    "save_steps": 2,
}


@pytest.mark.parametrize("strategy", [BY_EPOCH, BY_STEPS])
@pytest.mark.parametrize("patience", [None, 1])
def test_a_quantizing_phase_that_makes_nothing_better_ends_where_it_started(
    trained: Callable[..., tuple[Stage, Curve]],
    data: DatasetConfig,
    tokens: Mapping[str, datasets.Dataset],
    micro_model: Path,
    caplog: pytest.LogCaptureFixture,
    strategy: Mapping[str, object],
    patience: int | None,
) -> None:
    options = {**strategy, "early_stopping_patience": patience, "num_train_epochs": 2}
    done, curve = trained(quantize=True, learning_rate=1e-12, **options)
    start = load_model(ModelConfig(str(micro_model)), ("cold", "hot", "wet")).model
    for name, value in start.bert.encoder.state_dict().items():
        trained_value = done.float_state[f"bert.encoder.{name}"]
        torch.testing.assert_close(trained_value, value, rtol=0, atol=1e-9)
    assert done.figures["kept_start/test"] == 1
    assert "phase test made nothing better on validation" in caplog.text
    evaluated = [step for step, entries in curve if "validation/accuracy" in entries]
    assert evaluated[0] > 100, "the start is no point of the curve"
    assert len(evaluated) > 1, "early stopping does not count the start"
    collate = collator(AutoTokenizer.from_pretrained(micro_model), data)
    evaluator = Evaluator(tokens["test"], collate, 16)
    expected = evaluator.logits(done.float_model(start.config))
    np.testing.assert_allclose(evaluator.logits(done.model), expected, atol=0.05)


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_a_quantizing_phase_that_learns_does_not_end_where_it_started(
    trained: Callable[..., tuple[Stage, Curve]], caplog: pytest.LogCaptureFixture, metric: str
) -> None:
    done, curve = trained(
        quantize=True, num_train_epochs=3, metric_for_best_model=metric, **BY_EPOCH
    )
    values = [
        entries[f"validation/{metric}"] for _, entries in curve if f"validation/{metric}" in entries
    ]
    assert done.figures["kept_start/test"] == 0
    assert "made nothing better" not in caplog.text
    assert done.evaluate()[metric] == pytest.approx(
        (min if metric == "loss" else max)(values), abs=0.1
    )


@pytest.mark.parametrize(("rate", "kept"), [(5e-3, 0), (1e-12, 1)])
def test_a_phase_shorter_than_the_distance_of_evaluations_is_evaluated_at_its_end(
    trained: Callable[..., tuple[Stage, Curve]],
    caplog: pytest.LogCaptureFixture,
    rate: float,
    kept: int,
) -> None:
    steps = {**BY_STEPS, "eval_steps": 500, "save_steps": 500}
    options = {"learning_rate": rate, "num_train_epochs": 4, **steps}
    done, curve = trained(quantize=True, **options)
    (evaluated,) = [step for step, entries in curve if "validation/accuracy" in entries]
    assert evaluated == 100 + done.steps
    assert done.figures["kept_start/test"] == kept
    assert ("phase test made nothing better on validation" in caplog.text) is bool(kept)
    assert kept or done.evaluate()["accuracy"] > 0.9, "what it learned is there"


def test_the_last_checkpoint_between_two_evaluations_can_be_the_best_one(
    trained: Callable[..., tuple[Stage, Curve]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    steps = {**BY_STEPS, "eval_steps": 6, "save_steps": 6, "metric_for_best_model": "loss"}
    _, curve = trained(quantize=False, **steps)
    assert [step for step, entries in curve if "validation/loss" in entries] == [106, 108]
    assert f"checkpoint-8: validation loss {curve[-1][1]['validation/loss']:.4f}" in caplog.text


def test_the_start_of_a_phase_is_there_for_who_goes_on(
    tmp_path: Path, trained: Callable[..., tuple[Stage, Curve]]
) -> None:
    trained(quantize=True, learning_rate=1e-12, **BY_EPOCH)
    figures = read_start(tmp_path / "test")
    assert figures is not None
    assert set(figures) == {"accuracy", "f1_macro", "loss"}
    (tmp_path / "test/start/figures.json").unlink()
    assert read_start(tmp_path / "test") is None, "a start that was not written whole"
