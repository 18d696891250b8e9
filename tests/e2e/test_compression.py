"""Whole runs with what Neural Compressor offers besides quantization-aware training."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow.entities import Run
from safetensors.torch import load_file

from pipeline.evaluation.metrics import Evaluator
from tests.conftest import Output
from tests.e2e.stored import runs

Command = Callable[..., Output]


def statistics(run: Run) -> pd.DataFrame:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return pd.read_csv(folder / "reports/mixed_precision_statistics.csv").set_index("Op Type")


@pytest.mark.parametrize("recipe", ["ptq_dynamic", "ptq_static"])
def test_post_training_quantization_leaves_what_a_qat_run_leaves(
    command: Command, micro: list[str], store: str, recipe: str
) -> None:
    typed = [item for item in micro if item != "export=none"]
    typed += ["export=onnx", "export.max_accuracy_loss=1"]
    if recipe == "ptq_static":  # one of the two is timed: a process for each artifact
        typed.remove("benchmark=none")
        typed += ["benchmark.repetitions=1", "benchmark.seconds=0.01"]
    output = command(*typed, f"qat={recipe}", "trainer.num_train_epochs=6")
    assert output.code == 0, output.err
    (run,) = runs(store)
    metrics = run.data.metrics
    assert {
        "fp32/accuracy",
        "int8/accuracy",
        "int8/validation_accuracy",
        "time/post_training_s",
        "accuracy_drop",
    } <= set(metrics)
    assert "onnx_int8/accuracy" in metrics
    assert {"int8/latency_p50_ms", "speedup"} <= set(metrics) or recipe == "ptq_dynamic"
    assert metrics["int8/reload_max_abs_difference"] == 0
    assert metrics["fp32/accuracy"] > 0.6
    assert abs(metrics["int8/accuracy"] - metrics["fp32/accuracy"]) < 0.1
    assert statistics(run).loc["Linear", "INT8"] == 14
    assert "Mixed Precision Statistics" in output.out


def test_tuning_says_which_modules_it_left_in_fp32_and_gives_up_in_words(
    command: Command, micro: list[str], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def figures(*_: object, **__: object) -> dict[str, float]:
        """Let FP32 be right, and INT8 from the fourth trial on, which leaves ops in FP32."""
        asked.append(1)
        return {
            "accuracy": 1.0 if len(asked) == 1 or len(asked) > 4 else 0.5,
            "f1_macro": 0.5,
            "loss": 1.0,
        }

    monkeypatch.setattr(Evaluator, "figures", figures)
    typed = [
        *micro,
        "qat=ptq_dynamic",
        "trainer.max_steps=2",
        "qat.post_training.tolerable_loss=0.01",
    ]
    output = command(*typed)
    assert output.code == 0, output.err
    (run,) = runs(store)
    left = statistics(run).loc["Linear", "FP32"]
    assert left > 0
    assert output.err.count("tuning, trial") == 4
    (line,) = [line for line in output.err.splitlines() if "left in FP32: " in line]
    assert len(line.split("left in FP32: ")[1].split(", ")) == left

    asked.clear()
    monkeypatch.setattr(
        Evaluator,
        "figures",
        lambda *_, **__: {"accuracy": asked.append(1) or 1.0 / len(asked), "loss": 1.0},
    )
    output = command(*typed, "qat.post_training.max_trials=2")
    assert output.code == 2
    assert (
        "INT8 configurations is within qat.post_training.tolerable_loss=0.01 (absolute) of FP32's"
        in output.error
    )
    assert "the best has 0.5000" in output.error
    assert "Specified timeout" not in output.err, "Neural Compressor's words for it"
    assert runs(store)[-1].info.status == "FAILED"


def test_named_modules_and_schemes_reach_the_reloaded_file(
    command: Command, micro: list[str], store: str
) -> None:
    output = command(
        *micro,
        "trainer.num_train_epochs=6",
        "qat.weight_granularity=per_tensor",
        "qat.activation_scheme=sym",
        "qat.fp32_modules=[bert.encoder.layer.0,'*.pooler.dense']",
        "qat.phases.qat.freeze_observers_after=0.5",
    )
    assert output.code == 0, output.err
    (run,) = runs(store)
    assert statistics(run).loc["Linear", ["INT8", "FP32"]].tolist() == [7, 7]
    assert run.data.metrics["int8/reload_max_abs_difference"] == 0
    assert run.data.metrics["int8/accuracy"] > 0.5


def test_frozen_embeddings_stay_as_they_were(
    command: Command, micro: list[str], store: str, micro_model: Path
) -> None:
    assert command(*micro, "qat=direct", "qat.phases.qat.freeze_embeddings=true").code == 0
    (run,) = runs(store)
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    before, after = (
        load_file(place / "model.safetensors") for place in (micro_model, folder / "fp32")
    )
    assert torch.equal(
        before["embeddings.word_embeddings.weight"], after["bert.embeddings.word_embeddings.weight"]
    )
    assert not torch.equal(before["pooler.dense.weight"], after["bert.pooler.dense.weight"])


@pytest.mark.parametrize(
    ("options", "expected", "taught"),
    [
        (
            [
                "qat=none",
                "+pruning=magnitude",
                "pruning.pattern=1x1",
                "pruning.target_sparsity=0.7",
            ],
            0.7,
            False,
        ),
        (["qat=finetune_then_qat", "+pruning=snip_momentum"], 0.5, True),
        (["qat=direct", "+pruning=magnitude", "pruning.pattern=2:4"], 0.5, False),
        (["qat=ptq_dynamic", "+pruning=magnitude"], 0.5, True),
    ],
)
def test_pruning_goes_with_every_recipe_and_its_zeros_reach_the_file(
    command: Command,
    micro: list[str],
    store: str,
    micro_model: Path,
    options: list[str],
    expected: float,
    taught: bool,
) -> None:
    teacher = ["+distillation=teacher", f"distillation.teacher={micro_model}"]
    output = command(*micro, *options, *(teacher if taught else []))
    assert output.code == 0, output.err
    (run,) = runs(store)
    shipped = "fp32" if "qat=none" in options else "int8"
    # The classifier is not pruned; rounding makes a few more zeros.
    assert run.data.metrics["fp32/sparsity"] == pytest.approx(expected, abs=0.02)
    assert run.data.metrics[f"{shipped}/sparsity"] == pytest.approx(expected, abs=0.05)
    assert ("teacher/accuracy" in run.data.metrics) is taught


def test_pruning_reaches_its_target_in_the_last_step_or_is_refused_before_the_first(
    command: Command, micro: list[str], store: str
) -> None:
    typed = [*micro, "qat=none", "+pruning=magnitude", "pruning.pattern=1x1", "trainer.max_steps=8"]
    assert command(*typed, "pruning.end_step=7").code == 0
    output = command(*typed, "pruning.end_step=8")
    assert output.code == 2
    assert "pruning.end_step=8 needs at least 9 training steps to reach" in output.error
    assert "and the first phase has 8; give a lower one, or train longer." in output.error
    assert "phase finetune" not in output.err
    reached, refused = runs(store)
    assert reached.data.metrics["fp32/sparsity"] == pytest.approx(0.5, abs=0.02)
    assert refused.info.status == "FAILED"


def test_loss_options_change_training_and_not_what_is_reported(
    command: Command, micro: list[str], store: str
) -> None:
    for options in ([], ["loss.class_weights=balanced"], ["loss.focal_gamma=2"]):
        assert command(*micro, "qat=none", *options).code == 0
    plain, balanced, focal = (run.data.metrics for run in runs(store))
    assert balanced["loss"] == plain["loss"], "the classes are equally frequent"
    assert focal["loss"] != plain["loss"]
    assert focal["loss"] == pytest.approx(plain["loss"], abs=0.5), "it is cross-entropy as well"
