"""The server on loopback, with a model that takes as long as a test wants."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import psutil
import pytest
import uvicorn

from pipeline.errors import PipelineError
from pipeline.inference.classifier import Step
from pipeline.serving import protocol
from pipeline.serving.answers import Answers
from pipeline.serving.app import application
from pipeline.serving.limits import Limits
from pipeline.serving.protocol import TimedProtocol

JSON = {"content-type": "application/json"}


@dataclass
class Model:
    """Score texts by their length, after some seconds for each."""

    seconds: float = 0.0
    label_names: tuple[str, ...] = ("short", "long")
    scored: list[str] = field(default_factory=list)

    def steps(self, texts: Sequence[str]) -> Iterator[Step]:
        return (partial(self.score, place, text) for place, text in enumerate(texts))

    def score(self, place: int, text: str) -> tuple[list[int], np.ndarray]:
        time.sleep(self.seconds)
        if text == "bug":
            raise RuntimeError("the runtime failed at 127.0.0.1")
        if text == "alone":
            raise PipelineError("'alone' is one text; this model takes pairs.")
        self.scored.append(text)
        return [place], np.array([[0.0, len(text)]], np.float32)

    def answers(self, logits: np.ndarray) -> list[dict[str, Any]]:
        return [{"label": self.label_names[row.argmax()]} for row in logits]


@contextmanager
def server(model: Model, limits: Limits) -> Iterator[int]:
    """The port of a server in a thread."""
    answers = Answers(model, limits, calls=2)
    config = uvicorn.Config(
        application(answers, limits), port=0, http=TimedProtocol, ws="none", log_level="critical"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started:
            time.sleep(0.01)
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.force_exit = running.should_exit = True
        thread.join()
        answers.stop(1)


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    contexts = []

    def start(model: Model | None = None, **limits: float) -> int:
        contexts.append(server(model or Model(), Limits(**limits)))
        return contexts[-1].__enter__()

    yield start
    for context in contexts:
        context.__exit__(None, None, None)


def ask(port: int, body: bytes, headers: dict[str, str] = JSON) -> tuple[int, Any, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/invocations", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content), answer.headers


def begin(port: int, declared: int, sent: bytes, **options: int) -> socket.socket:
    """Send the head of a request and a part of its body."""
    client = socket.socket()
    for name, value in options.items():
        client.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    head = "POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    client.sendall(f"{head}Content-Length: {declared}\r\n\r\n".encode() + sent)
    return client


def status_of(client: socket.socket) -> int:
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


def test_texts_are_answered_as_mlflow_answers_them(serve: Callable[..., int]) -> None:
    port = serve()
    status, answer, headers = ask(port, b'{"inputs": ["a", "rain"]}')
    assert (status, headers["content-type"]) == (200, "application/json")
    assert answer == {"predictions": [{"label": "long"}, {"label": "long"}]}
    assert ask(port, b"text\nrain\n", {"content-type": "text/csv"})[0] == 200


def test_one_connection_carries_any_number_of_requests(serve: Callable[..., int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serve(), timeout=20)
    for method, path, body, status in (
        ("HEAD", "/ping", None, 200),
        ("GET", "/ping", None, 200),
        ("HEAD", "/invocations", None, 405),
        ("GET", "/health", None, 200),
        ("POST", "/invocations", b'{"inputs": [""]}', 400),
        ("POST", "/invocations", b'{"inputs": ["rain"]}', 200),
        ("GET", "/version", None, 200),
        ("GET", "/nowhere", None, 404),
    ):
        connection.request(method, path, body, JSON)
        own = connection.sock
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (status, method != "HEAD"), (method, path)
        assert connection.sock is own, f"{method} {path} closed the connection"


def test_a_refusal_does_not_echo_the_request(serve: Callable[..., int]) -> None:
    body = json.dumps({"inputs": ["a" * 90_000] * 100 + [""]}).encode()
    status, answer, headers = ask(serve(), body)
    assert status == 400
    assert int(headers["content-length"]) < 100
    assert answer == {"error_code": "BAD_REQUEST", "message": "text 101 is empty."}


def test_a_request_that_is_too_long_is_refused_before_it_is_read(
    serve: Callable[..., int],
) -> None:
    port = serve(request_bytes=1_000_000)
    status, answer, _ = ask(port, b"a" * 1_000_001)
    assert (status, answer["message"]) == (413, "the request is longer than 1,000,000 bytes.")

    def chunks() -> Iterator[bytes]:  # its length is not declared
        for _ in range(20):
            yield b"a" * 100_000

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/invocations", chunks(), JSON, encode_chunked=True)
    assert connection.getresponse().status == 413


def test_a_request_that_never_ends_is_answered_408(serve: Callable[..., int]) -> None:
    port = serve(transfer_seconds=0.5)
    started = time.monotonic()
    assert status_of(begin(port, 1000, b'{"inputs":')) == 408
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("sent", [b"", b"POST /invocations HTTP/1.1\r\nHost:"])
def test_a_client_that_does_not_say_what_it_wants_is_cut_off(
    serve: Callable[..., int], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    client = socket.create_connection(("127.0.0.1", serve()), timeout=5)
    client.sendall(sent)
    assert client.recv(100) == b""
    # After an answer as well.
    client = socket.create_connection(("127.0.0.1", serve()), timeout=5)
    client.sendall(b"GET /ping HTTP/1.1\r\nHost: here\r\n\r\n")
    assert status_of(client) == 200
    client.sendall(sent)
    assert client.recv(100) == b""


def test_bytes_of_all_requests_are_bounded_and_given_back(serve: Callable[..., int]) -> None:
    port = serve(held_bytes=250_000, transfer_seconds=3)
    part = b'{"inputs": ["' + b"a" * 90_000
    slow = [begin(port, 100_000, part) for _ in range(2)]
    time.sleep(0.3)
    status, answer, headers = ask(port, part + b'"]}')
    assert (status, headers["retry-after"]) == (503, "1")
    assert answer["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert ask(port, b'{"inputs": ["rain"]}')[0] == 200, "a small request still fits"
    assert [status_of(client) for client in slow] == [408, 408]
    assert ask(port, part + b'"]}')[0] == 200


def test_an_answer_that_is_too_long_asks_for_fewer_texts(serve: Callable[..., int]) -> None:
    port = serve(answer_bytes=10_000)
    status, answer, _ = ask(port, json.dumps({"inputs": ["a"] * 1000}).encode())
    assert status == 413
    line = "the answer is longer than 10,000 bytes; send fewer texts at once."
    assert answer["message"] == line
    assert ask(port, json.dumps({"inputs": ["a"] * 200}).encode())[0] == 200


def test_a_text_that_the_model_cannot_take_is_the_clients_error(serve: Callable[..., int]) -> None:
    status, answer, _ = ask(serve(), b'{"inputs": ["alone"]}')
    assert (status, answer["message"]) == (400, "'alone' is one text; this model takes pairs.")


def test_any_number_of_texts_is_answered_in_order(serve: Callable[..., int]) -> None:
    port = serve(Model(label_names=("\u00e9", "b")))
    for count in (0, 1, 64, 65, 200):
        status, answer, _ = ask(port, json.dumps({"inputs": ["a"] * count}).encode())
        assert (status, answer) == (200, {"predictions": [{"label": "b"}] * count})


def test_an_answer_counts_like_a_request(serve: Callable[..., int]) -> None:
    body = json.dumps({"inputs": ["a"] * 100}).encode()
    status, answer, _ = ask(serve(held_bytes=len(body) + 100), body)
    assert (status, answer["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


def test_a_client_that_does_not_read_its_answer_gives_its_bytes_back(
    serve: Callable[..., int],
) -> None:
    model = Model(label_names=("a" * 1000, "b" * 1000))
    port = serve(model, held_bytes=12_000_000, transfer_seconds=2)
    body = json.dumps({"inputs": ["a"] * 10_000}).encode()  # the answer is of 10 MB
    client = begin(port, len(body), body, SO_RCVBUF=4096)
    time.sleep(0.3)
    assert ask(port, body)[0] == 503, "both answers do not fit"
    deadline = time.monotonic() + 20
    while ask(port, body)[0] != 200:
        assert time.monotonic() < deadline
    client.close()


def test_a_client_that_does_not_read_its_answer_is_cut_off(
    serve: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 1.0)
    port = serve(Model(label_names=("a" * 1000, "b" * 1000)), transfer_seconds=0.5)
    body = json.dumps({"inputs": ["a"] * 10_000}).encode()  # the answer is of 10 MB
    client = begin(port, len(body), body, SO_RCVBUF=4096)
    connections = psutil.Process().net_connections
    deadline = time.monotonic() + 20
    while any(each.laddr.port == port and each.status == "ESTABLISHED" for each in connections()):
        assert time.monotonic() < deadline, "it holds its connection"
        time.sleep(0.2)
    client.close()


def test_a_request_that_takes_too_long_is_given_up(serve: Callable[..., int]) -> None:
    model = Model(seconds=0.05)
    port = serve(model, answer_seconds=0.5)
    status, answer, _ = ask(port, json.dumps({"inputs": ["a"] * 1000}).encode())
    assert status == 504
    assert answer["message"].startswith("no answer within 0.5 s; send fewer texts at once")
    time.sleep(0.2)
    scored = len(model.scored)
    time.sleep(0.3)
    assert len(model.scored) == scored < 1000, "nobody waits for the rest"


def test_a_client_that_has_gone_is_worked_for_no_longer(serve: Callable[..., int]) -> None:
    model = Model(seconds=0.05)
    port = serve(model)
    body = json.dumps({"inputs": ["a"] * 1000}).encode()
    client = begin(port, len(body), body)
    time.sleep(0.5)
    assert model.scored
    client.close()
    time.sleep(0.3)
    scored = len(model.scored)
    time.sleep(0.3)
    assert len(model.scored) == scored < 1000
    assert ask(port, b'{"inputs": ["rain"]}')[0] == 200


def test_a_bug_is_told_at_the_terminal_and_the_server_goes_on(
    serve: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    port = serve()
    status, answer, _ = ask(port, b'{"inputs": ["bug"]}')
    assert (status, answer["error_code"]) == (500, "INTERNAL_ERROR")
    assert "127.0.0.1" not in answer["message"]
    assert capfd.readouterr().err == "error: RuntimeError: the runtime failed at 127.0.0.1\n"
    assert ask(port, b'{"inputs": ["rain"]}')[0] == 200
