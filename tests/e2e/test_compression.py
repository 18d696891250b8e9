"""Whole runs with what Neural Compressor offers besides quantization-aware training."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from safetensors.torch import load_file, save_file

from pipeline.evaluation.metrics import Evaluator
from tests.conftest import Output, micro_rows

Command = Callable[..., Output]


def runs(store: str) -> list[Run]:
    client = MlflowClient(store)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(ids, order_by=["attributes.start_time ASC"])


def statistics(run: Run) -> pd.DataFrame:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return pd.read_csv(folder / "reports/mixed_precision_statistics.csv").set_index("Op Type")


def taught_by(teacher: str | Path) -> list[str]:
    """Return the overrides that let a directory or a run teach."""
    return ["+distillation=teacher", f"distillation.teacher={teacher}"]


@pytest.mark.parametrize("recipe", ["ptq_dynamic", "ptq_static"])
def test_post_training_quantization_leaves_what_a_qat_run_leaves(
    command: Command, micro: list[str], store: str, recipe: str
) -> None:
    typed = [item for item in micro if item != "export=none"]
    typed += ["export=onnx", "export.max_accuracy_loss=1"]
    if recipe == "ptq_static":  # one of the two is timed: a process for each artifact
        typed.remove("benchmark=none")
        typed += ["benchmark.repetitions=1", "benchmark.seconds=0.01"]
    calibration = ["qat.post_training.calibration_samples=50"] if recipe == "ptq_static" else []
    output = command(*typed, f"qat={recipe}", "trainer.num_train_epochs=6", *calibration)
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


def test_more_calibration_texts_than_there_are_is_refused_before_training(
    command: Command, micro: list[str]
) -> None:
    output = command(*micro, "qat=ptq_static")
    assert output.code == 2
    assert output.error.endswith(
        "qat.post_training.calibration_samples=300 but train has 240 rows; at most 240 can be used."
    )
    assert "phase" not in output.err


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


def test_a_teacher_is_fine_tuned_once_for_all_runs_that_it_teaches(
    command: Command, micro: list[str], store: str, micro_model: Path
) -> None:
    typed = [
        *micro,
        *taught_by(micro_model),
        "trainer.num_train_epochs=6",
    ]
    first = command(*typed, "qat=none")
    assert first.code == 0, first.err
    assert "phase teacher" in first.err
    second = command(*typed, "qat=direct")
    assert second.code == 0, second.err
    assert "phase teacher" not in second.err
    one, two = runs(store)
    assert one.data.metrics["teacher/accuracy"] == two.data.metrics["teacher/accuracy"] > 0.5
    other = command(*typed, "qat=none", "trainer.seed=9")
    assert other.code == 0, other.err
    assert "phase teacher" in other.err, "another seed makes another teacher"
    assert {"int8/accuracy", "teacher/validation_accuracy"} <= set(two.data.metrics)


def test_a_student_starts_from_the_teacher_and_is_taught_on_more_texts_than_train_has(
    command: Command, micro: list[str], store: str, micro_model: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more.csv"
    micro_rows(40, 9)[["text"]].to_csv(more, index=False)
    typed = [
        *micro,
        *taught_by(micro_model),
        f"dataset.unlabelled_file={more}",
        "distillation.student_from_teacher=true",
        "distillation.hidden_states_weight=1",
        "distillation.transfer_texts=64",
        "distillation.num_train_epochs=6",
        "distillation.learning_rate=5e-3",
    ]
    # All layers, and a rate at which nothing moves: the student is the teacher.
    output = command(*typed, "qat=none", "trainer.learning_rate=1e-12")
    assert output.code == 0, output.err
    # One layer, in both phases.
    output = command(*typed, "model.num_hidden_layers=1", "trainer.num_train_epochs=4")
    assert output.code == 0, output.err
    assert "phase teacher" not in output.err, "it is the same teacher"
    assert re.search(r"│ teacher +│ +[01]\.\d{4}", output.out), "a row of the table"
    same, small = runs(store)
    for figure in ("accuracy", "validation_accuracy", "loss"):
        taught, teacher = (same.data.metrics[f"{each}/{figure}"] for each in ("fp32", "teacher"))
        assert taught == pytest.approx(teacher, abs=1e-5), figure
    assert small.data.metrics["int8/accuracy"] > 0.6
    assert small.data.metrics["teacher/size_mb"] > small.data.metrics["fp32/size_mb"]
    assert not Path(small.info.artifact_uri[7:], "teacher").exists(), "the run does not store it"
    inputs = {each.tags[0].value: each.dataset for each in small.inputs.dataset_inputs}
    assert inputs["unlabelled"].name.endswith("-unlabelled")
    config = json.loads((Path(small.info.artifact_uri[7:]) / "int8/config.json").read_text())
    assert config["num_hidden_layers"] == 1


def test_a_student_is_refused_from_a_teacher_whose_labels_have_another_order(
    command: Command, micro: list[str], store: str
) -> None:
    assert command(*micro, "qat=none").code == 0
    (run,) = runs(store)
    typed = [*micro, "qat=none", "dataset.label_names=[wet,hot,cold]"]
    typed += [*taught_by(run.info.run_id), "distillation.student_from_teacher=true"]
    output = command(*typed)
    assert output.code == 2
    assert "dataset.label_names=[cold,hot,wet] has to say so" in output.error


def test_a_teacher_that_learned_nothing_is_warned_of(
    command: Command, micro: list[str], micro_model: Path
) -> None:
    typed = [
        *micro,
        "qat=none",
        "trainer.max_steps=1",
        *taught_by(micro_model),
    ]
    output = command(
        *typed,
        "distillation.learning_rate=1e-9",
        "trainer.lr_scheduler_type=constant",
        "trainer.seed=2",
    )
    assert output.code == 0, output.err
    assert (
        "has learned nothing: the most frequent class of the test split alone gives 0.3333"
        in output.err
    )


def test_a_finished_run_is_a_teacher_and_moves_the_weights(
    command: Command, micro: list[str], store: str
) -> None:
    assert command(*micro, "qat=none", "trainer.num_train_epochs=6").code == 0
    (teacher,) = runs(store)
    typed = [
        *micro,
        "qat=none",
        *taught_by(teacher.info.run_id),
    ]
    for weights in ("[0.5,0.5]", "[1.0,0.0]"):
        output = command(*typed, f"distillation.loss_weights={weights}")
        assert output.code == 0, output.err
        assert "phase teacher" not in output.err
    _, taught, not_taught = runs(store)
    assert taught.data.metrics["teacher/accuracy"] == teacher.data.metrics["fp32/accuracy"]
    assert taught.data.metrics["loss"] != not_taught.data.metrics["loss"]


def test_a_student_with_layers_that_its_teacher_lacks_is_refused_before_anything_is_trained(
    command: Command, micro: list[str], micro_model: Path
) -> None:
    typed = [*micro, *taught_by(micro_model), "distillation.student_from_teacher=true"]
    output = command(*typed, "distillation.num_hidden_layers=1", "model.num_hidden_layers=2")
    assert output.code == 2
    assert f"num_hidden_layers=2 but teacher {micro_model} has 1 layers" in output.error
    assert "phase teacher" not in output.err


def test_a_teacher_without_a_padding_token_is_timed_and_one_of_short_texts_is_refused(
    command: Command, micro: list[str], store: str, tmp_path: Path
) -> None:
    assert command(*micro, "qat=none", "trainer.max_steps=1").code == 0
    (run,) = runs(store)
    teacher = tmp_path / "teacher"
    shutil.copytree(Path(run.info.artifact_uri[7:], "fp32"), teacher)
    change_config(teacher, pad_token_id=None)
    typed = [*micro, "qat=none", "trainer.max_steps=1", *taught_by(teacher)]
    output = command(*typed, "benchmark=short", "benchmark.repetitions=1", "benchmark.seconds=0.01")
    assert output.code == 0, output.err
    assert runs(store)[1].data.metrics["teacher/latency_p50_ms"] > 0
    file, name = teacher / "model.safetensors", "bert.embeddings.position_embeddings.weight"
    weights = load_file(file)
    save_file({**weights, name: weights[name][:16]}, file, {"format": "pt"})
    change_config(teacher, max_position_embeddings=16)
    output = command(*typed)
    assert output.code == 2
    assert "dataset.max_length=32 is more than bert takes here; at most 16" in output.error


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_teacher_of_other_labels_is_refused_with_both_sets(
    command: Command, micro: list[str], store: str, tmp_path: Path, micro_corpus: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for split in ("train", "validation", "test"):
        text = (micro_corpus / f"{split}.csv").read_text().replace(",wet", ",damp")
        (other / f"{split}.csv").write_text(text)
    elsewhere = [item for item in micro if not item.startswith("dataset.data_dir")]
    assert (
        command(*elsewhere, f"dataset.data_dir={other}", "qat=none", "trainer.max_steps=1").code
        == 0
    )
    (teacher,) = runs(store)
    output = command(*micro, *taught_by(teacher.info.run_id))
    assert output.code == 2
    assert (
        "was trained for other labels: cold, damp, hot; the corpus has cold, hot, wet."
        in output.error
    )
    assert "phase" not in output.err


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
    teacher = taught_by(micro_model) if taught else []
    output = command(*micro, *options, *teacher)
    assert output.code == 0, output.err
    (run,) = runs(store)
    shipped = "fp32" if "qat=none" in options else "int8"
    # The classifier is not pruned; rounding makes a few more zeros.
    assert run.data.metrics["fp32/sparsity"] == pytest.approx(expected, abs=0.02)
    assert run.data.metrics[f"{shipped}/sparsity"] == pytest.approx(expected, abs=0.05)
    assert ("teacher/accuracy" in run.data.metrics) is taught


def test_loss_options_change_training_and_not_what_is_reported(
    command: Command, micro: list[str], store: str
) -> None:
    for options in ([], ["loss.class_weights=balanced"], ["loss.focal_gamma=2"]):
        assert command(*micro, "qat=none", *options).code == 0
    plain, balanced, focal = (run.data.metrics for run in runs(store))
    assert balanced["loss"] == plain["loss"], "the classes are equally frequent"
    assert focal["loss"] != plain["loss"]
    assert focal["loss"] == pytest.approx(plain["loss"], abs=0.5), "it is cross-entropy as well"
