"""Serve a deployed model on this machine: python -m pipeline.serve [--model MODEL] [--port N]."""

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pipeline.console import command_line, third_parties
from pipeline.errors import PipelineError
from pipeline.inference.session import refuse_pickles
from pipeline.names import CHAMPION
from pipeline.tracking.locate_model import mlflow_directory

MAX_REQUEST_BYTES = 16_000_000
DESCRIPTION = f"""\
Serve a deployed model with MLflow's scoring server, as `mlflow models serve` would. Models with
pickles among their files are refused, and so are requests of more than {MAX_REQUEST_BYTES:,} bytes.
"""
EXAMPLES = """\
ask it:
  curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' \\
    -d '{"inputs": ["what a day"]}'
"""

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
"""An ASGI application."""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.serve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    command.add_argument(
        "--model",
        default=CHAMPION,
        help="run id, models:/NAME@ALIAS, models:/NAME/VERSION or directory (default: %(default)s)",
    )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only)",
    )
    command.add_argument(
        "--port", type=int, default=5001, help="port to listen on (default: %(default)s)"
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what was typed after the command's name; None takes the process's.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    return command_line.exit_code(lambda: _serve(options))


def _serve(options: argparse.Namespace) -> None:
    third_parties.prepare()
    directory = mlflow_directory(options.model)
    refuse_pickles(directory)
    import mlflow
    import uvicorn
    from mlflow.pyfunc import scoring_server

    app = bounded(scoring_server.init(mlflow.pyfunc.load_model(str(directory))), MAX_REQUEST_BYTES)
    address = f"http://{options.host}:{options.port}/invocations"
    print(f"serving {options.model} on {address}", file=sys.stderr, flush=True)  # noqa: T201
    try:
        uvicorn.run(app, host=options.host, port=options.port, log_level="critical")
    except SystemExit as stop:  # how uvicorn says that it cannot listen
        raise PipelineError(
            f"port {options.port} of {options.host} is taken or not allowed; choose another: "
            "--port N."
        ) from stop


def bounded(app: App, limit: int) -> App:
    """Answer 413 to requests whose body is too long, without reading the rest of it.

    Args:
        app: ASGI application to protect.
        limit: largest accepted body, in bytes.

    Returns:
        An application that passes on the requests within the limit.
    """

    async def checked(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        # The scoring server reads a whole body before it answers; so does this, up to the limit.
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone
                return None
            body += message.get("body", b"")
            if len(body) > limit:
                return await _refuse(send, limit)
            if not message.get("more_body"):
                break
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        return await app(scope, replay, send)

    return checked


async def _refuse(send: Send, limit: int) -> None:
    line = f'{{"message": "the request is longer than {limit:,} bytes"}}'.encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": line})


if __name__ == "__main__":
    sys.exit(main())
