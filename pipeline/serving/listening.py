"""Listen on an address, say so once clients can connect, and say why where that cannot be."""

import os
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from pipeline.errors import PipelineError
from pipeline.serving.limits import Limits
from pipeline.serving.protocol import TimedProtocol


def serve(
    application: Starlette, limits: Limits, host: str, port: int, announce: Callable[[str], None]
) -> None:
    """Answer requests until the process is told to stop.

    Args:
        application: what answers.
        limits: for the seconds that requests have when the server stops.
        host: name or address of this machine.
        port: number of the port; 0 takes any free one.
        announce: called with the server's address, http://HOST:PORT, once it listens.

    Raises:
        PipelineError: the address cannot be listened on.
    """
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise PipelineError(f"--host {host} is no name of a host: {error}.") from error
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        http=TimedProtocol,
        ws="none",
        log_level="critical",
        timeout_graceful_shutdown=limits.stop_seconds,
    )
    try:
        _Announcing(config, announce).run()
    except KeyboardInterrupt:  # uvicorn has stopped, and passes the signal on
        pass
    except SystemExit as stop:  # how uvicorn 0.54 ends where it cannot listen
        raise PipelineError(
            f"--host {host} --port {port} cannot be listened on: {_reason(stop.__context__)}; "
            "choose others."
        ) from stop


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        address, port = self.servers[0].sockets[0].getsockname()[:2]
        # A name may have two addresses, and any free port is another one for each.
        host = self.config.host if self.config.host and self.config.port else address
        self._announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def _reason(error: BaseException | None) -> str:
    if isinstance(error, socket.gaierror):  # no such name
        return error.strerror or str(error)
    if isinstance(error, OSError):  # asyncio's own text has the address once more
        return str(error) if error.errno is None else os.strerror(error.errno)
    return "it is taken or not allowed"
