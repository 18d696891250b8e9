"""Make sure, before anything is said or started, that an address can be listened on."""

import socket

from pipeline.errors import PipelineError


def check_free(host: str, port: int, target: str) -> None:
    """Make sure that an address can be listened on.

    Args:
        host: address of this machine.
        port: number of the port.
        target: make target that serves there.

    Raises:
        PipelineError: it is taken, not allowed, or no port.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "0 to 65535 are ports"
        raise PipelineError(
            f"http://{host}:{port} cannot be served: {reason}; choose another --port "
            f"(make {target} PORT=5002)."
        ) from error
