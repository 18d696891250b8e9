"""python -m pipeline.serve in a process of its own, with models that others logged."""

import json
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest

from pipeline import predict, serve
from pipeline.inference.texts import MAX_TEXTS
from tests.conftest import listened_on
from tests.e2e.processes import PATIENCE_S

ROOT = Path(__file__).parents[1]
STORED = Path(__file__).parent / "inference/model_of_0_1_0"
SECONDS_TO_STOP = 5.0
# A model whose every call takes long: the session of a served classifier, slowed down.
SLOW = """
import sys, time
from pipeline import serve
from pipeline.inference import classifier
opened = classifier.open_session
def open_slowly(*arguments):
    session, calls = opened(*arguments), []
    def run(*inputs):
        calls.append(1)
        if len(calls) > 1:  # the first is made before the server listens
            time.sleep(SECONDS)
        return session(*inputs)
    return run
classifier.open_session = open_slowly
sys.exit(serve.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("typed", ["70000", "-1", "http"])
def test_a_port_that_is_none_is_told(capsys: pytest.CaptureFixture[str], typed: str) -> None:
    with pytest.raises(SystemExit) as stop:
        serve.main(["--port", typed])
    assert stop.value.code == 2
    assert f"{typed} is no port; 0 to 65535 are" in capsys.readouterr().err


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    processes = []

    def started(program: list[str], model: Path) -> tuple[subprocess.Popen[str], int]:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, *program, "--model", str(model), "--port", str(port)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[1]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1)
            except OSError:
                time.sleep(0.1)
            else:
                return process, port
        raise AssertionError("the server does not answer")

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def ask(port: int, request: object) -> dict[str, list[dict[str, object]]]:
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/invocations"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
        return json.load(answer)


def set_trap(model: Path, proof: Path) -> None:
    """Let a model's MLmodel name a pickle and code that write a file, the proof that they ran."""
    write = f"__import__('pathlib').Path({str(proof)!r}).touch()"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (write,)

    (model / "weights.dat").write_bytes(pickle.dumps(Trap()))
    for module in ("served.py", "mlflow_model.py", "code/evil.py", "code/mlflow.py"):
        (model / module).write_text(write)
    (model / "code/pipeline/__init__.py").write_text(write)
    text = (model / "MLmodel").read_text(encoding="utf-8")
    text = text.replace("loader_module: mlflow.pyfunc.loaders.code_model", "loader_module: evil")
    named = "python_model: weights.dat\n    python_version:"
    (model / "MLmodel").write_text(text.replace("python_version:", named), encoding="utf-8")


@pytest.fixture
def trapped(tmp_path: Path) -> tuple[Path, Path]:
    """A model whose MLmodel names a pickle and code that write a file, and that file."""
    model, proof = tmp_path / "model", tmp_path / "proof"
    shutil.copytree(STORED, model)
    set_trap(model, proof)
    return model, proof


def test_the_trap_would_be_sprung_by_whoever_loads_the_model_with_its_code(
    trapped: tuple[Path, Path],
) -> None:
    model, proof = trapped
    program = "import sys, mlflow; mlflow.pyfunc.load_model(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(model)], check=False, capture_output=True)
    assert proof.exists()


def test_a_model_directory_is_data_when_it_is_predicted_with_and_served(
    trapped: tuple[Path, Path], start: Callable[..., tuple[subprocess.Popen[str], int]]
) -> None:
    model, proof = trapped
    assert predict.main(["--model", str(model), "snow and ice"]) == 0
    _, port = start(["-m", "pipeline.serve"], model)
    (answer,) = ask(port, {"inputs": ["snow and ice"]})["predictions"]
    assert answer["label"] in ("cold", "wet")
    assert not proof.exists()


def test_a_directory_that_an_export_wrote_is_served_as_it_is(
    start: Callable[..., tuple[subprocess.Popen[str], int]],
) -> None:
    _, port = start(["-m", "pipeline.serve"], STORED / "artifacts/onnx_int8")
    assert listened_on(port) == {"127.0.0.1"}
    texts = ["snow and ice", "the sun was full of fire"]
    answers = ask(port, {"dataframe_records": [{"id": 1, "text": text} for text in texts]})
    assert [answer["label"] for answer in answers["predictions"]] in (
        ["cold", "hot"],
        ["wet", "hot"],
    )
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/version") as answer:
        assert answer.read().decode() == mlflow.__version__


@pytest.mark.parametrize(
    "seconds", [0.2, 60], ids=["between two batches", "within a call of the runtime"]
)
def test_sigterm_ends_the_server_at_once_whatever_it_is_doing(
    start: Callable[..., tuple[subprocess.Popen[str], int]], seconds: float
) -> None:
    server, port = start(["-c", SLOW.replace("SECONDS", str(seconds))], STORED)
    body = json.dumps({"inputs": ["rain " * n for n in range(1, 31)] * 300}).encode()
    head = "POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    clients = []
    for part in (len(body), len(body) - 1, 10):  # whole, and never whole
        clients.append(socket.create_connection(("127.0.0.1", port)))
        clients[-1].sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:part])
    clients.append(socket.create_connection(("127.0.0.1", port)))
    clients[-1].sendall(b"POST /invoc")
    time.sleep(1)
    asked = time.monotonic()
    server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=30)
    assert time.monotonic() - asked < SECONDS_TO_STOP
    assert server.returncode == 0
    assert len(errors.splitlines()) == 1, "nothing but the address"
    for client in clients:
        client.close()


def test_the_help_names_every_limit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        serve.main(["--help"])
    shown = capsys.readouterr().out
    for limit in (
        f"{MAX_TEXTS:,}",
        "100,000",
        "16,000,000",
        "64,000,000",
        "30 to send",
        "--timeout",
    ):
        assert limit in shown


def test_a_timeout_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--model", str(STORED), "--timeout", "0"]) == 2
    assert capsys.readouterr().err == "error: --timeout 0.0 must be above 0.\n"
