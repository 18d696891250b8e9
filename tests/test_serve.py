import asyncio
from typing import Any

import pytest

from pipeline.serve import bounded


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def answer(chunks: list[bytes], limit: int) -> tuple[int, bytes, int]:
    """Status and body of the answer, and how many chunks were left unread."""
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(bounded(echo, limit)({"type": "http"}, receive, send))
    return sent[0]["status"], sent[1]["body"], len(waiting)


@pytest.mark.parametrize("chunks", [[b"12345"], [b"12", b"345"], [b""]])
def test_a_request_within_the_limit_arrives_whole(chunks: list[bytes]) -> None:
    assert answer(chunks, 5) == (200, b"".join(chunks), 0)


def test_a_longer_request_is_refused_and_not_read_to_its_end() -> None:
    status, body, unread = answer([b"1234", b"56", b"78", b"90"], 5)
    assert (status, unread) == (413, 2)
    assert b"longer than 5 bytes" in body
