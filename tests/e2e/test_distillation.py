"""Whole runs that a teacher teaches."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pipeline.training import phases
from pipeline.training.schedule import Task
from tests.conftest import Output, micro_rows
from tests.e2e.stored import runs

Command = Callable[..., Output]


def taught_by(teacher: str | Path) -> list[str]:
    """Return the overrides that let a directory or a run teach."""
    return ["+distillation=teacher", f"distillation.teacher={teacher}"]


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
    assert "answers the training texts" in first.err
    second = command(*typed, "qat=direct")
    assert second.code == 0, second.err
    assert "phase teacher" not in second.err
    assert "answers the training texts" not in second.err
    one, two = runs(store)
    assert one.data.metrics["teacher/accuracy"] == two.data.metrics["teacher/accuracy"] > 0.5
    other = command(*typed, "qat=none", "trainer.seed=9")
    assert other.code == 0, other.err
    assert "phase teacher" in other.err, "another seed makes another teacher"
    assert {"int8/accuracy", "teacher/validation_accuracy"} <= set(two.data.metrics)


def test_a_student_starts_from_the_teacher_and_is_taught_on_more_texts_than_train_has(
    command: Command,
    micro: list[str],
    store: str,
    micro_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Task] = []
    monkeypatch.setattr(phases, "default_epochs", lambda task: asked.append(task) or 2)
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
    unmoved = ["trainer.learning_rate=1e-12", "trainer.num_train_epochs=null"]
    output = command(*typed, "qat=none", *unmoved)
    assert output.code == 0, output.err
    assert asked[-1].transfer_rows == 64
    # One layer, in both phases; the teacher is asked more.
    typed.append("distillation.transfer_texts=80")
    output = command(*typed, "model.num_hidden_layers=1", "trainer.num_train_epochs=4")
    assert output.code == 0, output.err
    assert "answers the training texts" in output.err
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


@pytest.mark.usefixtures("nothing_stays")
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


def test_a_student_of_another_shape_than_its_teacher_is_refused_before_anything_is_trained(
    command: Command, micro: list[str], micro_model: Path, tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(micro_model, teacher)
    change_config(teacher, num_attention_heads=4)
    typed = [*micro, *taught_by(teacher), "distillation.student_from_teacher=true"]
    output = command(*typed)
    assert output.code == 2
    assert f"there num_attention_heads=2, in distillation.teacher={teacher} 4; " in output.error
    assert "phase" not in output.err


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
