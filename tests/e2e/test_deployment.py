"""A run's exports: their figures, their files, and predictions from them, as a user types them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from pipeline import bench, predict, serve
from pipeline.config.objectives import promised_figures
from pipeline.config.resolve import read_logged
from pipeline.inference.classifier import TextClassifier, probabilities
from pipeline.names import CHAMPION
from pipeline.tracking.locate_model import mlflow_directory
from tests.e2e.conftest import Deployed

pytestmark = [pytest.mark.usefixtures("own_store"), pytest.mark.smoke]
EXPORTS = ("onnx_fp32", "onnx_int8", "openvino_int8")


def test_every_variant_has_its_figures_and_the_shipped_ones_have_no_prefix(
    deployed: Deployed,
) -> None:
    metrics, shipped = deployed.run.data.metrics, deployed.run.data.tags["shipped"]
    assert deployed.run.info.status == "FINISHED"
    assert shipped == min(
        ("onnx_int8", "openvino_int8"), key=lambda variant: metrics[f"{variant}/latency_p50_ms"]
    )
    for variant in ("fp32", "int8", *EXPORTS):
        for name in (
            "accuracy",
            "loss",
            "size_mb",
            "latency_p50_ms",
            "latency_p95_ms",
            "latency_p99_ms",
            "load_s",
        ):
            assert f"{variant}/{name}" in metrics
        for name in (
            "latency_p50_ms_16_tokens",
            "latency_p50_ms_32_tokens",
            "throughput_per_s",
            "peak_memory_mb",
        ):
            assert metrics[f"{variant}/{name}"] > 0
        assert metrics[f"{variant}/latency_p50_ms"] <= metrics[f"{variant}/latency_p99_ms"]
    for name in ("accuracy", "loss", "f1_macro"):
        assert metrics[name] == metrics[f"{shipped}/{name}"]
    assert metrics["speedup"] == pytest.approx(
        metrics["fp32/latency_p50_ms"] / metrics[f"{shipped}/latency_p50_ms"]
    )
    assert metrics["onnx_fp32/differing_predictions"] == 0.0
    assert {file.name for file in (deployed.artifacts / "reports").iterdir()} >= {
        "benchmark.csv",
        "benchmark.png",
    }


@pytest.mark.parametrize("variant", EXPORTS)
def test_the_accuracy_of_an_export_is_found_again_from_its_files(
    deployed: Deployed, variant: str
) -> None:
    classifier = TextClassifier(deployed.artifacts / variant)
    predicted = [
        classifier.label_names[row.argmax()]
        for row in classifier.logits(list(deployed.test["text"]))
    ]
    assert (predicted == deployed.test["label"]).mean() == pytest.approx(
        deployed.run.data.metrics[f"{variant}/accuracy"]
    )
    written = pd.read_csv(deployed.artifacts / "reports" / "predictions.csv")
    assert list(written[variant]) == predicted
    assert list(written["label"]) == list(deployed.test["label"])


@pytest.mark.parametrize("variant", EXPORTS)
def test_an_export_gives_a_text_one_answer_in_any_batch(deployed: Deployed, variant: str) -> None:
    classifier = TextClassifier(deployed.artifacts / variant)
    texts = [*deployed.test["text"][:33], "rain " * 500]  # the last is cut at 32 tokens
    alone = probabilities(np.concatenate([classifier.logits([text]) for text in texts]))
    for size in (2, 7, len(texts)):
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        together = probabilities(np.concatenate([classifier.logits(batch) for batch in batches]))
        np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.usefixtures("nothing_stays")
def test_bench_prints_every_artifact_of_the_newest_run(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--repetitions", "1", "--seconds", "0.01"]) == 0
    printed = capsys.readouterr().out
    for variant in ("fp32", "int8", *EXPORTS):
        assert variant in printed
    assert bench.main(["--repetitions", "0"]) == 2
    assert "--repetitions 0 must be above 0." in capsys.readouterr().err


def test_predict_answers_like_the_file(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "texts.txt"
    texts = list(deployed.test["text"])
    file.write_text("\n".join(texts) + "\n", encoding="utf-8-sig")  # as Notepad writes it
    assert predict.main(["--file", str(file), "--scores", "--model", deployed.run.info.run_id]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    classifier = TextClassifier(deployed.artifacts / deployed.run.data.tags["shipped"])
    expected = probabilities(classifier.logits(texts))
    assert [answer["text"] for answer in answers] == texts
    assert [answer["label"] for answer in answers] == [
        classifier.label_names[row.argmax()] for row in expected
    ]
    np.testing.assert_allclose(
        [list(answer["scores"].values()) for answer in answers], expected, atol=1e-5
    )
    assert (
        predict.main(
            ["--format", "table", "--model", str(deployed.artifacts / "onnx_int8"), *texts[:2]]
        )
        == 0
    )
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["label", "score", "text"]
    assert len(rows) == 2


@pytest.mark.parametrize("variant", ["onnx_int8", "openvino_int8"])
def test_a_table_is_answered_like_its_texts_alone_to_the_last_digit(
    deployed: Deployed, tmp_path: Path, variant: str
) -> None:
    table, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    texts = [*deployed.test["text"], "rain " * 500]
    pd.DataFrame({"text": texts}).to_parquet(table)
    model = deployed.artifacts / variant
    arguments = ["--file", str(table), "--output", str(output), "--model", str(model)]
    assert predict.main(arguments) == 0
    classifier = TextClassifier(model)
    for row in pd.read_parquet(output).to_dict("records"):
        (answer,) = classifier.answers(classifier.logits([row["text"]]))
        assert row["label"] == answer["label"]
        assert row["score"] == round(answer["score"], 6)
        assert row["scores"] == {name: round(each, 6) for name, each in answer["scores"].items()}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"rain\n\nsun\n", "line 2, is empty."),
        (b"rain\nsun \xff fire\n", "line 2, is not UTF-8: byte 0xff at position 5."),
        (
            b"rain\n" + b"a" * 1_000_000 + b"\n",
            "line 2, has more than 100,000 characters, which is the most.",
        ),
        (
            "rain\n" + "\U0001f327" * 100_001 + "\n",
            "line 2, has more than 100,000 characters, which is the most.",
        ),
        (
            "rain\n" + "ü" * 100_001 + "\n",
            "line 2, has 100,001 characters; at most 100,000 are accepted.",
        ),
    ],
)
def test_a_line_that_is_no_text_ends_predict_with_one_line(
    deployed: Deployed,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes | str,
    line: str,
) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    assert predict.main(["--file", str(file), "--model", deployed.run.info.run_id]) == 2
    assert capsys.readouterr().err.endswith(line + "\n")


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (
            CHAMPION,
            "models:/int8-text-classifier is not registered; none is registered; "
            "python -m pipeline.promote RUN_ID",
        ),
        ("0" * 32, f"run {'0' * 32} has no MLflow model"),
        (
            "nowhere",
            "nowhere is not a directory, a run id (32 hex digits), models:/NAME@ALIAS "
            "or models:/NAME/VERSION.",
        ),
    ],
)
def test_an_unknown_model_is_named(
    capsys: pytest.CaptureFixture[str], model: str, line: str
) -> None:
    assert predict.main(["--model", model, "rain"]) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["onnx_int8", "openvino_int8"])
def test_a_damaged_file_is_named(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], tmp_path: Path, variant: str
) -> None:
    broken = tmp_path / variant
    shutil.copytree(deployed.artifacts / variant, broken)
    file = broken / {"onnx_int8": "model.onnx", "openvino_int8": "openvino_model.bin"}[variant]
    file.write_bytes(file.read_bytes()[:-5000])
    assert predict.main(["--model", str(broken), "rain"]) == 2
    assert "cannot be loaded by" in capsys.readouterr().err


def test_a_directory_with_a_pickle_is_refused(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert predict.main(["--model", str(deployed.artifacts / "int8"), "rain"]) == 2
    assert (
        "holds pytorch_model.bin, a pickle: loading it can run any code." in capsys.readouterr().err
    )
    packed = tmp_path / "packed"
    shutil.copytree(mlflow_directory(deployed.run.info.run_id), packed)
    (packed / "python_model.pkl").write_bytes(b"cos\nsystem\n")
    assert serve.main(["--model", str(packed)]) == 2
    assert "holds python_model.pkl, a pickle" in capsys.readouterr().err


def test_the_mlflow_model_holds_no_pickle_and_needs_no_torch(deployed: Deployed) -> None:
    packed = mlflow_directory(deployed.run.info.run_id)
    names = {file.name for file in packed.rglob("*") if file.is_file()}
    assert not {name for name in names if name.endswith((".pkl", ".pt", ".pth", ".joblib"))}
    requirements = (packed / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in requirements)
    assert {line.split("==")[0] for line in requirements} <= {
        "mlflow",
        "numpy",
        "tokenizers",
        "openvino",
        "onnxruntime",
    }
    script = f"""
import sys, mlflow
answers = mlflow.pyfunc.load_model({str(packed)!r}).predict(["rain and flood"])
assert set(answers[0]) == {{"label", "score", "scores"}}, answers
assert not {{"torch", "transformers"}} & set(sys.modules), "torch was imported"
"""
    subprocess.run(
        [sys.executable, "-c", script], check=True, cwd=packed
    )  # not in the repository: its own code is used


def test_an_objective_may_be_any_figure_that_a_run_logs_and_no_other(deployed: Deployed) -> None:
    config = OmegaConf.to_object(read_logged(deployed.artifacts / "config"))
    logged = {
        name
        for name in deployed.run.data.metrics
        if not name.startswith(("corpus/", "train/", "validation/"))
    }
    assert promised_figures(config) == logged
