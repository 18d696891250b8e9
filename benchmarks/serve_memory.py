"""Measure the memory of `python -m pipeline.serve` under 200 connections of 16 MB each.

python benchmarks/serve_memory.py [--model DIR] [--connections N]

Each kind of request has a server of its own: texts of the largest size, JSON that takes the most
memory for its bytes, and bodies that come slowly. All connections send at once.
"""

import argparse
import json
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _inputs import newest_artifacts
from _promises import Promise, print_promises
from _server import PEAK, memory_mb, server

from pipeline.inference.texts import MAX_TEXT_CHARACTERS
from pipeline.names import ONNX_INT8
from pipeline.serving.limits import Limits

PEAK_MB = 1500
PIECE_SECONDS = 0.1  # between two pieces of a slow request
PIECES = 100
REQUEST_BYTES = Limits().request_bytes - 1000
SECONDS = 300.0  # that a client waits
HEAD = "POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"


def main() -> int:
    """Measure each kind of request, and print the peak beside its promise.

    Returns:
        The exit code: 1 if the promise is broken.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="model directory (default: onnx_int8 of the newest run)")
    parser.add_argument("--connections", type=int, default=200, help="default: %(default)s")
    options = parser.parse_args()
    model = Path(options.model or newest_artifacts() / ONNX_INT8)
    texts = json.dumps({"inputs": ["a " * (MAX_TEXT_CHARACTERS // 2)] * 159}).encode()
    lists = b'{"inputs":[' + b"[]," * (REQUEST_BYTES // 3) + b"1]}"
    promises = []
    for name, body, pause_s in (
        ("nothing", b'{"inputs": ["a"]}', 0.0),
        ("texts at once", texts, 0.0),
        ("empty lists at once", lists, 0.0),
        ("texts slowly", texts, PIECE_SECONDS),
    ):
        with server(model) as (process, port):
            statuses = send_all(port, body, pause_s, options.connections)
            peak = memory_mb(process, PEAK)
        counts = ", ".join(f"{count} x {status}" for status, count in statuses.most_common())
        print(f"{name}: {len(body):,} bytes a request; answers: {counts}", flush=True)
        promises.append(Promise(f"peak memory, {name}", peak, PEAK_MB, " MB"))
    return print_promises(promises)


def send_all(port: int, body: bytes, pause_s: float, connections: int) -> Counter[str]:
    """Send a request over each connection at once, and count the statuses of the answers."""
    with ThreadPoolExecutor(connections) as threads:
        return Counter(threads.map(lambda _: send(port, body, pause_s), range(connections)))


def send(port: int, body: bytes, pause_s: float) -> str:
    """Send one request in pieces.

    Args:
        port: port of the server.
        body: body of the request.
        pause_s: time between two pieces, in seconds; 0 sends it in one.

    Returns:
        The status of the answer, or the error of a connection that was cut.
    """
    size = -(-len(body) // (PIECES if pause_s else 1))
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        try:
            client.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode())
            for start in range(0, len(body), size):
                client.sendall(memoryview(body)[start : start + size])
                time.sleep(pause_s)
        except OSError:  # refused before it was sent; the answer is there nevertheless
            pass
        try:
            return client.recv(100).split()[1].decode()
        except (OSError, IndexError) as error:
            return type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
