"""Where the server listens, and what it says of that."""

import asyncio
import contextlib
import re
import socket
import urllib.request
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pipeline.errors import PipelineError
from pipeline.serving import protocol
from pipeline.serving.limits import Limits
from pipeline.serving.listening import serve


def read(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return bytes(answer.read())


def say_nothing(address: str) -> bytes:
    _, _, port = address.rpartition(":")
    with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as client:
        return client.recv(100)


def serve_until_asked(
    host: str, port: int, question: Callable[[str], bytes] = read
) -> tuple[str, bytes]:
    """Serve, ask once at the address that is announced, and stop as Ctrl-C does."""
    told: list[str] = []
    answers: list[bytes] = []
    asking: list[asyncio.Task[None]] = []  # the loop alone would not keep it

    async def ask() -> None:
        with contextlib.suppress(OSError):
            answers.append(await asyncio.to_thread(question, told[0]))
        raise KeyboardInterrupt

    def announce(address: str) -> None:
        told.append(address)
        asking.append(asyncio.get_running_loop().create_task(ask()))

    application = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])
    serve(application, Limits(), host, port, announce)
    assert isinstance(asking[0].exception(), KeyboardInterrupt)
    assert answers, "it left the client waiting"
    return told[0], answers[0]


def test_any_free_port_is_announced_by_its_number() -> None:
    address, answer = serve_until_asked("127.0.0.1", 0)
    assert int(address.removeprefix("http://127.0.0.1:")) > 0
    assert answer == b"here"


def test_a_client_that_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    _, received = serve_until_asked("127.0.0.1", 0, say_nothing)
    assert received == b""


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    address, answer = serve_until_asked("::1", 0)
    assert address.startswith("http://[::1]:")
    assert answer == b"here"


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PipelineError, match=f"--port {port} .*: Address already in use"):
            serve(Starlette(), Limits(), "127.0.0.1", port, lambda _: None)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no-such-host.invalid", "[Nn]ame"),
        ("a..b", "is no name of a host"),
        # The latter is what asyncio of Python 3.13 makes of it.
        ("192.0.2.1", "Cannot assign requested address|could not bind on any address"),
    ],
)
def test_a_host_that_is_not_this_machine_is_told(host: str, reason: str) -> None:
    with pytest.raises(PipelineError, match=f"--host {re.escape(host)} .*({reason})"):
        serve(Starlette(), Limits(), host, 0, lambda _: None)
