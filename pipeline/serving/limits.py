"""Bound what the requests of a server may take, and refuse what is beyond in one line."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipeline.errors import PipelineError

# MLflow's error codes by HTTP status; every other one is INTERNAL_ERROR.
ERROR_CODES = {
    **dict.fromkeys((400, 408, 413, 415), "BAD_REQUEST"),
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@dataclass(frozen=True)
class Limits:
    """What a server accepts.

    Args:
        request_bytes: largest body of a request.
        answer_bytes: longest answer.
        held_bytes: most bytes of requests and answers that are held at once; beyond, requests are
            asked to come again.
        transfer_seconds: longest time that a client may take to send a request, and again to
            receive its answer.
        answer_seconds: longest time that a request waits and is worked on.
        linger_seconds: time in which a client that is refused may go on sending, so that it
            receives the refusal instead of a broken connection.
        stop_seconds: time that requests have to end after SIGTERM or Ctrl-C.
    """

    request_bytes: int = 16_000_000
    answer_bytes: int = 32_000_000
    held_bytes: int = 64_000_000
    transfer_seconds: float = 30.0
    answer_seconds: float = 60.0
    linger_seconds: float = 1.0
    stop_seconds: int = 1


class RefusedError(PipelineError):
    """Refuse a request.

    Args:
        status: HTTP status of the answer.
        line: what was wrong, and what would be accepted.
        headers: headers of the answer beside the usual ones.
    """

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status = status
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """The answer in JSON, as MLflow's clients know it."""
        code = ERROR_CODES.get(self.status, "INTERNAL_ERROR")
        return json.dumps({"error_code": code, "message": str(self)}).encode()


@dataclass
class Budget:
    """Count the bytes that all requests hold together.

    Args:
        limit: most bytes.
        held: bytes that are held now.
    """

    limit: int
    held: int = field(default=0, init=False)

    @contextmanager
    def share(self) -> "Iterator[Share]":
        """Open the share of a request, and give it back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.held


@dataclass
class Share:
    """Count the bytes that one request holds.

    Args:
        budget: budget that they are taken from.
        held: bytes that are held now.
    """

    budget: Budget
    held: int = field(default=0, init=False)

    def take(self, count: int) -> None:
        """Hold so many bytes more.

        Raises:
            RefusedError: there are no more; HTTP 503.
        """
        if self.budget.held + count > self.budget.limit:
            raise RefusedError(
                503,
                f"the server holds {self.budget.limit:,} bytes of other requests; come again.",
                {"retry-after": "1"},
            )
        self.budget.held += count
        self.held += count
