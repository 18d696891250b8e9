import os
import ssl
import threading
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.config.hub import OFFLINE, use_cache_if_silent
from pipeline.config.schema import Config, DatasetConfig, ModelConfig

FROM_HUB = Config(
    ModelConfig("prajjwal1/bert-tiny"), DatasetConfig(name="emotion", path="dair-ai/emotion")
)
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFFLINE, "")


@pytest.fixture
def answering() -> Iterator[str]:
    """An endpoint that answers every request with 501."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_hub_that_does_not_answer_leaves_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    use_cache_if_silent(FROM_HUB)
    assert os.environ[OFFLINE] == "1"


def test_a_hub_that_answers_is_used(monkeypatch: pytest.MonkeyPatch, answering: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", answering)
    use_cache_if_silent(FROM_HUB)
    assert os.environ[OFFLINE] == ""


def test_a_hub_with_a_certificate_of_its_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object, **__: object) -> None:
        raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed certificate"))

    monkeypatch.setattr("urllib.request.urlopen", answer)
    use_cache_if_silent(FROM_HUB)
    assert os.environ[OFFLINE] == ""


@pytest.mark.parametrize(
    ("model", "data_dir", "asked"),
    [(".", ".", False), ("prajjwal1/bert-tiny", ".", True), (".", None, True)],
)
def test_the_hub_is_asked_only_if_model_or_corpus_comes_from_it(
    monkeypatch: pytest.MonkeyPatch, model: str, data_dir: str | None, asked: bool
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    use_cache_if_silent(
        Config(ModelConfig(model), DatasetConfig(name="x", path="owner/x", data_dir=data_dir))
    )
    assert (os.environ[OFFLINE] == "1") is asked
