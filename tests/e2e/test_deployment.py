"""From a run's exports to predictions, a served model and a promotion, as a user types them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline import bench, predict, promote, serve
from pipeline.locate import CHAMPION, mlflow_directory, model_directory
from pipeline.runtime import TextClassifier, probabilities

ROOT = Path(__file__).parents[2]
EXPORTS = ("onnx_fp32", "onnx_int8", "openvino_int8")


@dataclass(frozen=True)
class Deployed:
    """A finished run with every export, in a store of its own."""

    store: str
    run: Run
    artifacts: Path
    test: pd.DataFrame


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory, migrated_store: Path, micro_model: Path, micro_corpus: Path
) -> Deployed:
    """One run for the whole module: it takes half a minute."""
    folder = tmp_path_factory.mktemp("deployed")
    shutil.copy(migrated_store, folder / "mlflow.db")
    store = f"sqlite:///{folder / 'mlflow.db'}"
    overrides = [
        f"model.name_or_path={micro_model}",
        "dataset=files",
        f"dataset.data_dir={micro_corpus}",
        "dataset.max_length=32",
        "trainer.learning_rate=5e-3",
        "trainer.num_train_epochs=6",
        "export.max_accuracy_loss=0.05",  # 60 test texts: one of them is 0.017
        "export.calibration_samples=50",
        "export.vocabulary=corpus",
        "benchmark.repetitions=2",
        "benchmark.seconds=0.02",
        f"tracking.tracking_uri={store}",
        f"tracking.artifact_location={folder / 'artifacts'}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *overrides], cwd=ROOT, capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode == 0, done.stderr
    (run,) = MlflowClient(store).search_runs(["1"])
    return Deployed(store, run, Path(run.info.artifact_uri.removeprefix("file://")), pd.read_csv(micro_corpus / "test.csv"))


@pytest.fixture(autouse=True)
def own_store(deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of the store, so that a test's registrations are its own."""
    shutil.copy(deployed.store.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def test_every_variant_has_its_figures_and_the_shipped_ones_have_no_prefix(deployed: Deployed) -> None:
    metrics, shipped = deployed.run.data.metrics, deployed.run.data.tags["shipped"]
    assert deployed.run.info.status == "FINISHED"
    assert shipped == min(("onnx_int8", "openvino_int8"), key=lambda variant: metrics[f"{variant}/latency_p50_ms"])
    for variant in ("fp32", "int8", *EXPORTS):
        for name in ("accuracy", "loss", "size_mb", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "load_s"):
            assert f"{variant}/{name}" in metrics
        for name in ("latency_p50_ms_16_tokens", "latency_p50_ms_32_tokens", "throughput_per_s", "peak_memory_mb"):
            assert metrics[f"{variant}/{name}"] > 0
        assert metrics[f"{variant}/latency_p50_ms"] <= metrics[f"{variant}/latency_p99_ms"]
    for name in ("accuracy", "loss", "f1_macro"):
        assert metrics[name] == metrics[f"{shipped}/{name}"]
    assert metrics["speedup"] == pytest.approx(metrics["fp32/latency_p50_ms"] / metrics[f"{shipped}/latency_p50_ms"])
    assert metrics["onnx_fp32/differing_predictions"] == 0.0
    assert {file.name for file in (deployed.artifacts / "reports").iterdir()} >= {"benchmark.csv", "benchmark.png"}


@pytest.mark.parametrize("variant", EXPORTS)
def test_the_accuracy_of_an_export_is_found_again_from_its_files(deployed: Deployed, variant: str) -> None:
    classifier = TextClassifier(deployed.artifacts / variant)
    predicted = [classifier.label_names[row.argmax()] for row in classifier.logits(list(deployed.test["text"]))]
    assert (predicted == deployed.test["label"]).mean() == pytest.approx(deployed.run.data.metrics[f"{variant}/accuracy"])
    written = pd.read_csv(deployed.artifacts / "reports" / "predictions.csv")
    assert list(written[variant]) == predicted
    assert list(written["label"]) == list(deployed.test["label"])


@pytest.mark.parametrize("variant", EXPORTS)
def test_an_export_takes_any_batch_and_length_and_padding_changes_nothing(deployed: Deployed, variant: str) -> None:
    classifier = TextClassifier(deployed.artifacts / variant)
    texts = [*deployed.test["text"][:33], "rain " * 500]  # the last is cut at 32 tokens
    together = classifier.logits(texts)
    alone = np.concatenate([classifier.logits([text]) for text in texts])
    # Activations that are quantized as they come share a range with the batch.
    tolerance = {"onnx_fp32": 1e-4, "openvino_int8": 1e-4, "onnx_int8": 0.2}[variant]
    np.testing.assert_allclose(together, alone, atol=tolerance)


def test_bench_prints_every_artifact_of_the_newest_run(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--repetitions", "1", "--seconds", "0.01"]) == 0
    printed = capsys.readouterr().out
    for variant in ("fp32", "int8", *EXPORTS):
        assert variant in printed
    assert bench.main(["--repetitions", "0"]) == 2
    assert "--repetitions 0 must be above 0." in capsys.readouterr().err


def test_predict_answers_like_the_file(deployed: Deployed, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    texts = list(deployed.test["text"])
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    assert predict.main(["--file", str(file), "--scores", "--model", deployed.run.info.run_id]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    classifier = TextClassifier(deployed.artifacts / deployed.run.data.tags["shipped"])
    expected = probabilities(classifier.logits(texts))
    assert [answer["text"] for answer in answers] == texts
    assert [answer["label"] for answer in answers] == [classifier.label_names[row.argmax()] for row in expected]
    np.testing.assert_allclose([list(answer["scores"].values()) for answer in answers], expected, atol=1e-5)
    assert predict.main(["--format", "table", "--model", str(deployed.artifacts / "onnx_int8"), *texts[:2]]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["label", "score", "text"]
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"rain\n\nsun\n", "line 2, is empty."),
        (b"rain\nsun \xff fire\n", "line 2, is not UTF-8: byte 0xff at position 5."),
        (b"rain\n" + b"a" * 1_000_000 + b"\n", "line 2, has 400,002 characters; at most 100,000 are accepted."),
    ],
)
def test_a_line_that_is_no_text_ends_predict_with_one_line(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, line: str
) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes(content)
    assert predict.main(["--file", str(file), "--model", deployed.run.info.run_id]) == 2
    assert capsys.readouterr().err.endswith(line + "\n")


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (CHAMPION, "models:/int8-text-classifier is not registered; none is registered; python -m pipeline.promote RUN_ID"),
        ("0" * 32, f"run {'0' * 32} has no MLflow model"),
        ("nowhere", "nowhere is not a directory, a run id (32 hex digits), models:/NAME@ALIAS or models:/NAME/VERSION."),
    ],
)
def test_an_unknown_model_is_named(capsys: pytest.CaptureFixture[str], model: str, line: str) -> None:
    assert predict.main(["--model", model, "rain"]) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["onnx_int8", "openvino_int8"])
def test_a_damaged_file_is_named(deployed: Deployed, capsys: pytest.CaptureFixture[str], tmp_path: Path, variant: str) -> None:
    broken = tmp_path / variant
    shutil.copytree(deployed.artifacts / variant, broken)
    file = broken / {"onnx_int8": "model.onnx", "openvino_int8": "openvino_model.bin"}[variant]
    file.write_bytes(file.read_bytes()[:-5000])
    assert predict.main(["--model", str(broken), "rain"]) == 2
    assert "cannot be loaded by" in capsys.readouterr().err


def test_a_directory_with_a_pickle_is_refused(deployed: Deployed, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert predict.main(["--model", str(deployed.artifacts / "int8"), "rain"]) == 2
    assert "holds pytorch_model.bin, a pickle: loading it can run any code." in capsys.readouterr().err
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
    assert {line.split("==")[0] for line in requirements} <= {"mlflow", "numpy", "tokenizers", "openvino", "onnxruntime"}
    script = f"""
import sys, mlflow
answers = mlflow.pyfunc.load_model({str(packed)!r}).predict(["rain and flood"])
assert set(answers[0]) == {{"label", "score", "scores"}}, answers
assert not {{"torch", "transformers"}} & set(sys.modules), "torch was imported"
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=packed)  # not in the repository: its own code is used


def ask(port: int, body: bytes) -> tuple[int, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(params=["python -m pipeline.serve", "mlflow models serve"])
def served(request: pytest.FixtureRequest, deployed: Deployed, own_store: str) -> Iterator[int]:
    """The port of a served champion."""
    assert promote.main([deployed.run.info.run_id, "--gate", "any"]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    programs = Path(sys.executable).parent
    command = {
        "python -m pipeline.serve": [sys.executable, "-m", "pipeline.serve"],
        "mlflow models serve": [str(programs / "mlflow"), *f"models serve -m {CHAMPION} --env-manager local".split()],
    }[request.param]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": own_store, "PATH": f"{programs}:{os.environ['PATH']}"}
    server = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, env=environment, start_new_session=True)
    try:
        for _ in range(120):
            time.sleep(0.5)
            assert server.poll() is None, "the server ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1)
                break
            except OSError:
                continue
        yield port
    finally:
        os.killpg(server.pid, 9)
        server.wait()


@pytest.fixture
def any_gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A gate that the micro model passes, whose speed is all overhead."""
    (tmp_path / "any.yaml").write_text("max_accuracy_drop: 1.0\nmin_speedup: 0.0\n")
    (tmp_path / "strict.yaml").write_text("max_accuracy_drop: -2.0\nmin_speedup: 0.0\n")
    monkeypatch.setattr("pipeline.gate.GATES", tmp_path)


@pytest.mark.usefixtures("any_gate")
def test_the_served_champion_answers_like_predict(deployed: Deployed, served: int, capsys: pytest.CaptureFixture[str]) -> None:
    texts = (list(deployed.test["text"]) * 2)[:100]
    for count in (1, 100):
        status, answer = ask(served, json.dumps({"inputs": texts[:count]}).encode())
        assert status == 200, answer
        capsys.readouterr()
        assert predict.main(["--scores", *texts[:count]]) == 0
        expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["label"] for row in answer["predictions"]] == [row["label"] for row in expected]
        for row, other in zip(answer["predictions"], expected, strict=True):
            assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)
    for body, said in (
        (b'{"inputs": ["rain", ""]}', "text 2 is empty."),
        (json.dumps({"inputs": ["a" * 1_000_000]}).encode(), "text 1 has 1,000,000 characters"),
        (json.dumps({"inputs": ["rain"] * 10_001}).encode(), "10,001 texts in one request; at most 10,000"),
        (b'{"inputs": [1, 2]}', "Failed to validate"),
        (b'{"inputs": ["rain"', "JSON"),
        (b'{"texts": ["rain"]}', "inputs"),
        (b'{"inputs": ["\xff"]}', ""),
    ):
        status, answer = ask(served, body)
        assert status == 400, (status, answer)
        assert said in json.dumps(answer)


def test_a_port_that_is_taken_is_named(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serve.main(["--model", deployed.run.info.run_id, "--port", str(port)]) == 2
    assert f"port {port} of 127.0.0.1 cannot be listened on" in capsys.readouterr().err


@pytest.mark.usefixtures("any_gate")
def test_a_promotion_is_decided_logged_and_not_half_done(
    deployed: Deployed, own_store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, run_id = MlflowClient(own_store), deployed.run.info.run_id
    assert promote.main([run_id, "--gate", "strict"]) == 1
    assert "not promoted; the gate failed at max_accuracy_drop: accuracy drop" in capsys.readouterr().err
    assert not client.search_registered_models()
    assert client.get_run(run_id).data.tags["promotion"].startswith("refused: max_accuracy_drop")

    assert promote.main([run_id, "--gate", "any"]) == 0
    version = client.get_model_version_by_alias("int8-text-classifier", "champion")
    assert (int(version.version), version.run_id) == (1, run_id)
    assert "promoted" in client.get_run(run_id).data.tags["promotion"]
    decision = json.loads((deployed.artifacts / "promotion.json").read_text())
    assert [check["line"] for check in decision["gate"]] == ["max_accuracy_drop", "min_speedup", "champion"]

    capsys.readouterr()
    assert promote.main([run_id, "--gate", "any"]) == 1
    assert "champion: it is the champion already" in capsys.readouterr().err

    # The alias cannot be moved: no version is left behind.
    def fails(*_: object) -> None:
        raise OSError("disk full")

    client.delete_registered_model("int8-text-classifier")
    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", fails)
    with pytest.raises(OSError, match="disk full"):
        promote.main([run_id, "--gate", "any"])
    assert not client.search_model_versions("name = 'int8-text-classifier'")


def test_a_run_that_cannot_be_promoted_says_why(
    deployed: Deployed, own_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient(own_store)
    failed = client.create_run("1")
    client.set_terminated(failed.info.run_id, "FAILED")
    bare = client.create_run("1")
    client.set_terminated(bare.info.run_id, "FINISHED")
    for arguments, line in (
        ([failed.info.run_id], "is FAILED; only a FINISHED run can be promoted."),
        ([bare.info.run_id], "shipped no model; run it with export=all or export=onnx."),
        (["f" * 32], "is not in sqlite"),
        (["--sweep", "latest"], "there is no sweep yet"),
    ):
        assert promote.main(arguments) == 2
        assert line in capsys.readouterr().err


@pytest.mark.usefixtures("any_gate")
def test_the_best_run_of_the_latest_sweep_is_promoted(deployed: Deployed, own_store: str) -> None:
    client, run_id = MlflowClient(own_store), deployed.run.info.run_id
    other = client.create_run("1", tags={"sweep": "tuesday"})
    client.log_metric(other.info.run_id, "accuracy", 1.0)  # not timed, so not shipped
    client.set_terminated(other.info.run_id, "FINISHED")
    client.set_tag(run_id, "sweep", "tuesday")
    assert promote.main(["--sweep", "latest", "--gate", "any"]) == 0
    assert client.get_model_version_by_alias("int8-text-classifier", "champion").run_id == run_id
    assert model_directory(CHAMPION).name == deployed.run.data.tags["shipped"]
