"""Whole runs of the micro model, as a user types them."""

import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline import compare
from pipeline.baseline.linear import MODEL_FILE
from pipeline.compression.upstream import load_int8
from pipeline.data.cache import cache_folder
from pipeline.tracking.tracker import Tracker
from tests.conftest import Output, micro_rows
from tests.e2e.processes import PATIENCE_S, Started
from tests.e2e.servers import Server
from tests.e2e.stored import runs

Command = Callable[..., Output]
ROOT = Path(__file__).parents[2]


def artifacts(run: Run) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def one_by_one(model: torch.nn.Module, tokenizer: AutoTokenizer, texts: list[str]) -> np.ndarray:
    with torch.inference_mode():
        return np.concatenate(
            [model(**tokenizer(text, return_tensors="pt")).logits.numpy() for text in texts]
        )


def test_the_default_recipe_ships_a_model_whose_figures_a_user_finds_again(
    command: Command, micro: list[str], store: str, micro_corpus: Path
) -> None:
    output = command(*micro, "trainer.num_train_epochs=6")
    assert output.code == 0, output.err
    (run,) = runs(store)
    metrics = run.data.metrics
    assert run.info.status == "FINISHED"

    # It learned, and quantization did not undo it.
    curve = MlflowClient(store).get_metric_history(run.info.run_id, "validation/accuracy")
    assert curve[0].step == 0
    assert curve[0].value < 0.6 < metrics["int8/accuracy"]
    assert next(iter(metrics)) == "validation/accuracy", "MLflow compares runs by their first one"
    description = run.data.tags["mlflow.note.content"]
    assert f"| **int8** | **{metrics['validation_accuracy']:.4f}** " in description

    # A user loads the stored directories and counts for himself.
    test = pd.read_csv(micro_corpus / "test.csv")
    for variant, loaded in {
        "fp32": AutoModelForSequenceClassification.from_pretrained(artifacts(run) / "fp32"),
        "int8": load_int8(artifacts(run) / "int8"),
    }.items():
        tokenizer = AutoTokenizer.from_pretrained(artifacts(run) / variant)
        logits = one_by_one(loaded.eval(), tokenizer, list(test["text"]))
        predicted = [loaded.config.id2label[index] for index in logits.argmax(-1)]
        assert (predicted == test["label"]).mean() == pytest.approx(metrics[f"{variant}/accuracy"])
        assert metrics[f"{variant}/reload_max_abs_difference"] == 0.0

    # What a sweep is sorted by is that of the shipped model.
    for name in ("accuracy", "loss", "f1_macro"):
        assert metrics[name] == metrics[f"int8/{name}"]
    assert metrics["accuracy_drop"] == pytest.approx(
        metrics["fp32/accuracy"] - metrics["int8/accuracy"]
    )
    assert metrics["size_ratio"] == pytest.approx(metrics["int8/size_mb"] / metrics["fp32/size_mb"])
    assert {"int8/validation_accuracy", "time/finetune_s", "time/qat_s", "time/total_s"} <= set(
        metrics
    )

    # Reports, inputs, and no pickle but the weights that Neural Compressor writes.
    reports = {file.name for file in (artifacts(run) / "reports").iterdir()}
    assert reports == {
        "corpus.csv",
        "corpus.png",
        "token_lengths.csv",
        "examples.csv",
        "layers.csv",
        "per_class.csv",
        "calibration.csv",
        "mistakes.csv",
        "disagreements.csv",
        "accuracy_by_length.csv",
        "report.html",
        "mixed_precision_statistics.csv",
        "figures.csv",
        "predictions.csv",
        "confusion_fp32.csv",
        "confusion_int8.csv",
    }
    assert {item.dataset.name for item in run.inputs.dataset_inputs} == {
        "files-train",
        "files-validation",
        "files-test",
    }
    assert [file.name for file in artifacts(run).rglob("*.bin")] == ["pytorch_model.bin"]

    # Two phases of 6 and 1.5 epochs over 8 batches: one curve of 60 steps.
    history = MlflowClient(store).get_metric_history(run.info.run_id, "validation/accuracy")
    assert [point.step for point in history] == [0, 8, 16, 24, 32, 40, 48, 56, 60]

    # The terminal tells the story and the next step.
    for shown in ("Mixed Precision Statistics", "fp32", "int8", "macro F1", "MB", "truncated"):
        assert shown in output.out
    assert "python -m pipeline.ui" in output.err
    assert "Traceback" not in output.err


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(
    command: Command,
    micro: list[str],
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    short = [*micro, "trainer.num_train_epochs=1"]
    for seed in (1, 1, 2):
        assert command(*short, f"trainer.seed={seed}").code == 0
    *same, other = [
        {name: value for name, value in run.data.metrics.items() if not name.startswith("time/")}
        for run in runs(store)
    ]
    # Side by side: the texts that they answer differently, and where their reports are.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    first, _, third = (run.info.run_id for run in runs(store))
    assert compare.main([first, third]) == 0
    shown = capfd.readouterr().out
    assert re.search(r"\d+ of 60 test texts have different answers", shown)
    assert f"/runs/{third}/artifacts/reports/report.html" in shown
    assert same[0] == same[1]
    assert other["fp32/loss"] != same[0]["fp32/loss"]


def test_padding_to_the_maximum_and_an_op_type_in_fp32_are_possible(
    command: Command, micro: list[str], store: str
) -> None:
    output = command(
        *micro,
        "qat=direct",
        "trainer.max_steps=3",
        "dataset.padding=max_length",
        "qat.fp32_op_types=[Embedding,LayerNorm]",
    )
    assert output.code == 0, output.err
    (run,) = runs(store)
    statistics = pd.read_csv(artifacts(run) / "reports/mixed_precision_statistics.csv").set_index(
        "Op Type"
    )
    assert statistics.loc["Embedding", "INT8"] == statistics.loc["LayerNorm", "INT8"] == 0
    assert statistics.loc["Linear", "INT8"] == 14


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "parquet"])
def test_files_of_any_format_and_column_names_are_learned_from(
    command: Command, micro: list[str], store: str, tmp_path: Path, suffix: str
) -> None:
    rows = micro_rows(120, 0).rename(columns={"text": "body", "label": "mood"})
    file = tmp_path / f"rows.{suffix}"
    if suffix == "tsv":
        rows.to_csv(file, sep="\t", index=False)
    elif suffix == "jsonl":
        rows.to_json(file, orient="records", lines=True)
    else:
        rows.to_parquet(file)
    columns = ["dataset.text_column=body", "dataset.label_column=mood"]
    output = command(
        *micro,
        "dataset.data_dir=null",
        f"dataset.train_file={file}",
        *columns,
        "qat=none",
        "trainer.max_steps=2",
    )
    assert output.code == 0, output.err
    (run,) = runs(store)
    sizes = [run.data.metrics[f"corpus/{split}_rows"] for split in ("train", "validation", "test")]
    assert sizes == [97, 11, 12]


def test_a_reload_that_differs_fails_the_run(
    command: Command, micro: list[str], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import run as story
    from pipeline.models.artifact import load

    def damaged(artifact: object) -> torch.nn.Module:
        model = load(artifact)
        with torch.no_grad():
            model.classifier.bias.add_(torch.tensor([5.0, 0.0, 0.0]))
        return model

    monkeypatch.setattr(story, "load", damaged)
    output = command(*micro, "qat=none", "trainer.max_steps=2")
    assert output.code == 2
    assert "the reloaded fp32 model is not the one that was trained" in output.error
    (run,) = runs(store)
    assert run.info.status == "FAILED"
    assert "the reloaded fp32 model" in run.data.tags["failure"]


def test_a_run_without_a_figure_that_it_promised_is_not_finished(
    command: Command, micro: list[str], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_figures = Tracker.log_figures

    def log_all_but_the_size(tracker: Tracker, figures: Mapping[str, float]) -> None:
        kept = {name: value for name, value in figures.items() if name != "size_mb"}
        log_figures(tracker, kept)

    monkeypatch.setattr(Tracker, "log_figures", log_all_but_the_size)
    output = command(*micro, "qat=none", "trainer.max_steps=2")
    assert output.code == 2
    assert "lacks the figures it promises: size_mb." in output.error
    (run,) = runs(store)
    assert run.info.status == "FAILED"
    assert "lacks the figures" in run.data.tags["failure"]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("dataset.label_column=lable", "train.csv; its columns are: text, label."),
        ("dataset.label_names=[cold,hot]", "label 'wet' of train is not in dataset.label_names"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line_before_a_run_is_opened(
    command: Command, micro: list[str], store: str, override: str, reason: str
) -> None:
    output = command(*micro, override)
    assert output.code == 2
    assert reason in output.error
    assert not runs(store)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model.num_hidden_layers=9", "model.num_hidden_layers=9 but"),
        ("dataset.max_length=65", "dataset.max_length=65 is more than"),
    ],
)
def test_what_only_the_model_can_tell_is_one_line_and_a_failed_run(
    command: Command, micro: list[str], store: str, override: str, reason: str
) -> None:
    output = command(
        *[item for item in micro if not item.startswith(override.split("=")[0])], override
    )
    assert output.code == 2
    assert reason in output.error
    (run,) = runs(store)
    assert run.info.status == "FAILED"
    assert reason in run.data.tags["failure"]


def test_a_learning_rate_that_blows_up_ends_the_run_with_the_step(
    command: Command, micro: list[str], store: str
) -> None:
    output = command(
        *micro, "trainer.learning_rate=1e30", "trainer.optim=sgd", "trainer.max_grad_norm=0"
    )
    assert output.code == 2
    assert "the training loss became nan at step" in output.error
    (run,) = runs(store)
    assert run.info.status == "FAILED"


def test_without_the_hub_the_article_task_says_how_to_run_from_local_files(
    command: Command, store: str, tmp_path: Path
) -> None:
    output = command(
        "model=bert_tiny",
        "dataset=emotion",
        f"tracking.tracking_uri={store}",
        f"tracking.artifact_location={tmp_path}/artifacts",
    )
    assert output.code == 2
    assert (
        "python -m pipeline model.name_or_path=DIR dataset=files dataset.data_dir=DIR"
        in output.error
    )


def test_a_model_directory_without_weights_is_refused(
    command: Command, micro: list[str], micro_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(micro_model, folder)
    (folder / "model.safetensors").unlink()
    output = command(*micro[1:], f"model.name_or_path={folder}")
    assert output.code == 2
    assert "has no weights (one of model.safetensors, " in output.error


def test_a_server_gets_the_run_and_the_model_measured_is_the_one_it_gives_back(
    command: Command, micro: list[str], store: str, server: Server, tmp_path: Path
) -> None:
    kept = [item for item in micro if not item.startswith("tracking.")]
    output = command(
        *kept, "tracking=server", f"tracking.tracking_uri={server.address}", "trainer.max_steps=2"
    )
    assert output.code == 0, output.err
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert "int8/accuracy" in run.data.metrics
    assert [file.name for file in (tmp_path / "served").rglob("int8/pytorch_model.bin")] == [
        "pytorch_model.bin"
    ]
    assert (
        f"next: {server.address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        in output.err
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_killed_and_leaves_no_scratch(
    micro: list[str], store: str, tmp_path: Path, number: signal.Signals
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    typed = [*micro, "trainer.num_train_epochs=10000"]
    process = Started(*typed, environment={"TMPDIR": str(scratch)})
    deadline = time.monotonic() + PATIENCE_S
    for line in process.stderr:
        if "epoch 2:" in line or time.monotonic() > deadline:
            break
    process.send_signal(number)
    rest = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 130, rest
    assert "error: interrupted" in rest
    assert "Traceback" not in rest
    (run,) = runs(store)
    assert run.info.status == "KILLED"
    assert "validation/accuracy" in run.data.metrics, "what was logged before is kept"
    assert not list(scratch.iterdir())


def test_a_damaged_linear_model_of_the_cache_is_made_anew(
    command: Command, micro: list[str], store: str
) -> None:
    typed = [*micro, "qat=none", "trainer.max_steps=1", "baseline.C=7"]
    typed[typed.index("baseline=none")] = "baseline=linear"
    assert command(*typed).code == 0
    models = cache_folder().glob(f"linear-*/{MODEL_FILE}")
    newest = max(models, key=lambda file: file.stat().st_mtime)
    newest.write_bytes(b"")
    output = command(*typed)
    assert output.code == 0, output.err
    assert f"{newest.parent.name} is damaged and made anew" in output.err
    first, second = (run.data.metrics["linear/loss"] for run in runs(store))
    assert first == second
