"""The champion, served for real on loopback."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import predict, promote, serve
from pipeline.names import CHAMPION
from tests.e2e.conftest import ROOT, Deployed
from tests.e2e.processes import PATIENCE_S

pytestmark = pytest.mark.usefixtures("own_store")


def ask(port: int, body: bytes) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
    )
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
        "mlflow models serve": [
            str(programs / "mlflow"),
            *f"models serve -m {CHAMPION} --env-manager local".split(),
        ],
    }[request.param]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": own_store,
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    server = subprocess.Popen(
        [*command, "--port", str(port)], cwd=ROOT, env=environment, start_new_session=True
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            time.sleep(0.5)
            assert server.poll() is None, "the server ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1)
                break
            except OSError:
                continue
        else:
            pytest.fail("the server does not answer")
        yield port
    finally:
        os.killpg(server.pid, 9)
        server.wait()


@pytest.mark.usefixtures("any_gate")
def test_the_served_champion_answers_like_predict(
    deployed: Deployed, served: int, capsys: pytest.CaptureFixture[str]
) -> None:
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
        (
            json.dumps({"inputs": ["rain"] * 10_001}).encode(),
            "10,001 texts in one request; at most 10,000",
        ),
        (b'{"inputs": ["rain"', "JSON"),
        (b'{"texts": ["rain"]}', "inputs"),
        (b'{"inputs": ["\xff"]}', ""),
        (b'{"inputs": [1, 2]}', ""),
    ):
        status, answer = ask(served, body)
        assert status == 400, (status, answer)
        assert said in json.dumps(answer)


def test_a_port_that_is_taken_is_named(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serve.main(["--model", deployed.run.info.run_id, "--port", str(port)]) == 2
    assert (
        f"--host 127.0.0.1 --port {port} cannot be listened on: Address already in use"
        in capsys.readouterr().err
    )
