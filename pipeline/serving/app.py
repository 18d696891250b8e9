"""Give a classifier the routes of MLflow's scoring server."""

import asyncio
import contextlib
from collections.abc import Coroutine
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from pipeline.console.command_line import complain
from pipeline.errors import reason_line
from pipeline.serving.answers import Answers
from pipeline.serving.limits import Budget, Limits, RefusedError, Share

JSON = "application/json"
BODY = "http.response.body"
CHUNK_BYTES = 65_536  # of an answer; uvicorn keeps that much for a client that does not read


def application(answers: Answers, limits: Limits) -> Starlette:
    """Make the application: /invocations, /ping, /health and /version.

    Args:
        answers: what answers the requests.
        limits: what is accepted.
    """
    return Starlette(
        routes=[
            Route("/ping", _ping),
            Route("/health", _ping),
            Route("/version", _version),
            Route("/invocations", Invocations(answers, limits), methods=["POST"]),
        ]
    )


async def _ping(_: Request) -> Response:
    return Response("\n", media_type=JSON)


async def _version(_: Request) -> Response:
    return Response(version("mlflow"), media_type=JSON)


class Invocations:
    """Answer POST /invocations, an ASGI application.

    Args:
        answers: what answers the requests.
        limits: what is accepted.
    """

    def __init__(self, answers: Answers, limits: Limits) -> None:
        self._answers = answers
        self._limits = limits
        self._budget = Budget(limits.held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a request, and send its answer or the line that refuses it."""
        request = Request(scope, receive)
        try:
            with self._budget.share() as share:
                body = await self._body(request, share)
                response = await self._response(request, body, share)
                async with asyncio.timeout(self._limits.transfer_seconds):
                    await _send(send, response)
        except ClientDisconnect:
            return
        except RefusedError as refusal:
            await self._turn_away(receive, send, refusal)

    async def _body(self, request: Request, share: Share) -> bytearray:
        """Read the body; a refusal leaves some of it unread."""
        limit = self._limits.request_bytes
        too_long = RefusedError(413, f"the request is longer than {limit:,} bytes.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.transfer_seconds):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > limit:
                        raise too_long
                    share.take(len(chunk))
                    body += chunk
        except TimeoutError as error:
            raise RefusedError(
                408, f"the request was not whole after {self._limits.transfer_seconds:g} s."
            ) from error
        return body

    async def _response(self, request: Request, body: bytearray, share: Share) -> Response:
        try:
            content_type = request.headers.get("content-type", "")
            work = self._answers.answer(body, content_type)
            answer = await _unless_gone(request, work)
            share.take(len(answer))
        except ClientDisconnect:
            raise
        except RefusedError as error:
            refusal = error
        except Exception as error:  # a bug of ours or of a runtime; the server goes on
            complain(reason_line(error))
            refusal = RefusedError(500, "the server failed; its terminal says why.")
        else:
            return Response(answer, media_type=JSON)
        return Response(refusal.body, refusal.status, refusal.headers, media_type=JSON)

    async def _turn_away(self, receive: Receive, send: Send, refusal: RefusedError) -> None:
        """Refuse a request that is not read to its end, so that its client learns why.

        A connection that is closed while its client sends is reset, and the refusal is lost. For
        the client the response is whole by its length; for the server not before it has listened
        a little longer.
        """
        headers = {"connection": "close", **refusal.headers}
        response = Response(refusal.body, refusal.status, headers, media_type=JSON)
        await send(_start(response))
        await send({"type": BODY, "body": response.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger_seconds):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": BODY, "body": b""})


async def _unless_gone(request: Request, work: Coroutine[Any, Any, bytes]) -> bytes:
    """Wait for an answer, and give it up when the client has closed the connection.

    Raises:
        ClientDisconnect: it has.
    """
    answer, gone = asyncio.create_task(work), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        answer.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, response: Response) -> None:
    """Send a response in chunks: uvicorn waits for the client after each of them."""
    await send(_start(response))
    for place in range(0, len(response.body), CHUNK_BYTES):
        chunk = response.body[place : place + CHUNK_BYTES]
        await send({"type": BODY, "body": chunk, "more_body": True})
    await send({"type": BODY, "body": b""})


def _start(response: Response) -> Message:
    headers = response.raw_headers
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}
