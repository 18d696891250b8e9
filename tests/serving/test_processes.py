"""The port that a server's processes share."""

import asyncio
import socket

import pytest

from pipeline.errors import PipelineError
from pipeline.serving.processes import listen


def test_an_answer_does_not_wait_until_its_head_is_acknowledged() -> None:
    async def has_no_delay() -> bool:
        accepted: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

        class Answering(asyncio.Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                accepted.set_result(transport)

        with listen("127.0.0.1", 0) as listening:
            server = await asyncio.get_running_loop().create_server(Answering, sock=listening)
            with socket.create_connection(listening.getsockname()):
                connection = (await accepted).get_extra_info("socket")
                option = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            server.close()
        return bool(option)

    assert asyncio.run(has_no_delay())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_is_taken_once(host: str) -> None:
    try:
        listening = listen(host, 0)
    except PipelineError:
        pytest.skip(f"{host} is no address of this machine")
    with listening:
        listening.listen()
        port = listening.getsockname()[1]
        with pytest.raises(PipelineError, match=rf"port {port} of {host} is taken"):
            listen(host, port)
