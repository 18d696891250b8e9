"""Measure `python -m pipeline.serve` under load: single texts from 1, 8 and 64 clients at once.

python benchmarks/serve_load.py [--model DIR] [--texts FILE] [--seconds S] [--requests N]

Clients keep their connection, and send the next text when they have the answer to the last one.
They are one process beside the server, on the same CPUs. The bare runtime classifies the same
texts, one at a time on ready-made tokens, in a thread for each CPU, and takes turns with the
clients. The server has to reach 0.8 of its throughput, to lose no request, and not to grow over
100,000 requests.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from _inputs import CORPUS, newest_artifacts
from _promises import Promise, print_promises
from _server import NOW, memory_mb, server

from pipeline.cpus import available_cpus
from pipeline.inference.classifier import (
    pad,
    pad_token_id,
    read_config,
    read_tokenizer,
)
from pipeline.inference.session import open_session
from pipeline.names import ONNX_INT8

CLIENTS = (1, 8, 64)
TURNS = 3
WARM_UP = 0.1  # of the requests, after which memory is read first
BODY_BEGINS = b"\r\n\r\n"


@dataclass
class Load:
    """What clients saw.

    Args:
        seconds_each: from a request to its answer, for each answer.
        lost: requests that were refused, cut off or answered with something else.
        seconds: how long the clients were at it.
    """

    seconds_each: list[float] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.seconds_each) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latency in milliseconds."""
        return float(np.percentile(self.seconds_each, percent)) * 1000


class Client(asyncio.Protocol):
    """Send one request after the other over one connection.

    Args:
        requests: whole requests, head and body.
        load: what is counted, shared by all clients.
        ends: whether to stop, asked after each answer.
        done: set when this client has stopped.
    """

    def __init__(
        self, requests: Iterator[bytes], load: Load, ends: "Ends", done: asyncio.Future[None]
    ) -> None:
        self._requests, self._load, self._ends, self._done = requests, load, ends, done
        self._answer, self._sent = b"", 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Send the first request."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count an answer that is whole, and send the next request."""
        self._answer += data
        head, found, body = self._answer.partition(BODY_BEGINS)
        if not found or not body.endswith(b"]}"):
            return
        if head.startswith(b"HTTP/1.1 200") and b'"label"' in body:
            self._load.seconds_each.append(time.perf_counter() - self._sent)
        else:
            self._load.lost += 1
        self._answer = b""
        if self._ends():
            self._sent = 0.0
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the request that was under way."""
        self._load.lost += self._sent > 0
        self._done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


class Ends:
    """Tell clients to stop, after a time or a number of requests.

    Args:
        seconds: longest time.
        requests: most requests.
    """

    def __init__(self, seconds: float, requests: float) -> None:
        self._end, self._left = time.perf_counter() + seconds, requests

    def __call__(self) -> bool:
        """Count an answer."""
        self._left -= 1
        return self._left <= 0 or time.perf_counter() > self._end


def main() -> int:
    """Measure the server in turns with the bare runtime, then its memory.

    Returns:
        The exit code: 1 if a promise is broken.
    """
    options = parser().parse_args()
    model = Path(options.model or newest_artifacts() / ONNX_INT8)
    texts = pd.read_csv(options.texts)["text"].tolist()
    bare: list[float] = []
    loads: dict[int, list[Load]] = {clients: [] for clients in CLIENTS}
    with server(model) as (process, port):
        apart(port, texts, 8, options.seconds, float("inf"))
        for _ in range(TURNS):
            bare.append(bare_runtime(model, texts, options.seconds))
            for clients in CLIENTS:
                loads[clients].append(apart(port, texts, clients, options.seconds, float("inf")))
        grown = growth(process, port, texts, options.requests)
    print(f"bare runtime, {available_cpus()} threads: {statistics.median(bare):,.0f} texts/s")
    ratios = {}
    for clients, turns in loads.items():
        per_s, p50, p99 = (
            statistics.median(values)
            for values in zip(
                *((t.per_s, t.percentile_ms(50), t.percentile_ms(99)) for t in turns), strict=True
            )
        )
        ratios[clients] = statistics.median(
            turn.per_s / alone for turn, alone in zip(turns, bare, strict=True)
        )
        print(f"{clients} clients: {per_s:,.0f} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    lost = sum(turn.lost for turns in loads.values() for turn in turns)
    return print_promises(
        [
            *(
                Promise(f"{n} clients / bare runtime", ratios[n], 0.8, bound="at least")
                for n in CLIENTS[1:]
            ),
            Promise("requests lost", lost, 0),
            Promise(f"memory after {options.requests:,} requests, grown to", grown, 1.02),
        ]
    )


def bare_runtime(model: Path, texts: Sequence[str], seconds: float) -> float:
    """Classify single texts on ready-made tokens, in a thread for each CPU.

    Returns:
        Texts a second.
    """
    session = open_session(model, threads=1, calls=available_cpus())
    tokenizer, padding = read_tokenizer(model), pad_token_id(read_config(model))
    inputs = [pad([tokenizer.encode(text).ids], padding) for text in texts]
    end = time.perf_counter() + seconds

    def classify(first: int) -> int:
        count = 0
        for row in cycle(inputs[first:] + inputs[:first]):
            if time.perf_counter() > end:
                return count
            session(*row)
            count += 1
        return count

    with ThreadPoolExecutor(available_cpus()) as threads:
        return sum(threads.map(classify, range(available_cpus()))) / seconds


def apart(port: int, texts: Sequence[str], clients: int, seconds: float, requests: float) -> Load:
    """Run clients in a process of their own.

    Args:
        port: port of the server.
        texts: texts that are sent, over and over.
        clients: connections.
        seconds: longest time.
        requests: most requests.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(send_all, (port, texts, clients, seconds, requests))


def send_all(
    port: int, texts: Sequence[str], clients: int, seconds: float, requests: float
) -> Load:
    """Run clients on this process's event loop; the arguments are those of apart()."""
    return asyncio.run(_send_all(port, texts, clients, Ends(seconds, requests)))


async def _send_all(port: int, texts: Sequence[str], clients: int, ends: Ends) -> Load:
    bodies = [json.dumps({"inputs": [text]}).encode() for text in texts]
    requests = cycle(
        b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        for body in bodies
    )
    loop, load = asyncio.get_running_loop(), Load()
    started, waiting = time.perf_counter(), []
    for _ in range(clients):
        done = loop.create_future()
        waiting.append(done)
        await loop.create_connection(partial(Client, requests, load, ends, done), "127.0.0.1", port)
    await asyncio.gather(*waiting)
    load.seconds = time.perf_counter() - started
    return load


def growth(process: subprocess.Popen, port: int, texts: Sequence[str], requests: int) -> float:
    """Return the memory after many requests, over that after the first tenth of them."""
    apart(port, texts, 8, float("inf"), requests * WARM_UP)
    before = memory_mb(process, NOW)
    apart(port, texts, 8, float("inf"), requests * (1 - WARM_UP))
    after = memory_mb(process, NOW)
    print(f"memory: {before:.0f} MB, after {requests:,} requests {after:.0f} MB")
    return after / before


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--model", metavar="DIR", help="model directory (default: onnx_int8 of the newest run)"
    )
    command.add_argument(
        "--texts",
        metavar="FILE",
        default=f"{CORPUS}/validation.csv",
        help="CSV file with a column text (default: %(default)s)",
    )
    command.add_argument(
        "--seconds", type=float, default=10.0, help="of each turn (default: %(default)g)"
    )
    command.add_argument(
        "--requests",
        type=int,
        default=100_000,
        help="while memory is looked at (default: %(default)s)",
    )
    return command


if __name__ == "__main__":
    sys.exit(main())
