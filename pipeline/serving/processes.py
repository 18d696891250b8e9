"""Serve a model on one port, in this process or in several workers."""

import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    SO_REUSEADDR,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)
from threading import Thread
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from pipeline.console import third_parties
from pipeline.console.command_line import complain
from pipeline.errors import PipelineError
from pipeline.inference.classifier import TextClassifier
from pipeline.serving.answers import Answers
from pipeline.serving.app import application
from pipeline.serving.limits import Limits
from pipeline.serving.protocol import TimedProtocol

THREADS_SECONDS = 0.3  # that a call of the runtime has to end, after the server has
# In which a worker tells that it is alive. uvicorn's 5 are less than a busy machine takes to import
# what it needs, and uvicorn 0.54 waits for so long for one that ends meanwhile.
HEALTHY_SECONDS = 20


@dataclass(frozen=True)
class Service:
    """What is served, by each process.

    Args:
        model: model directory.
        limits: what is accepted.
        calls: calls of the model that are made at once.
    """

    model: Path
    limits: Limits
    calls: int

    def load(self) -> TextClassifier:
        """Load the model.

        Raises:
            PipelineError: it cannot be loaded.
        """
        # A thread for each call: they need not wait for each other.
        return TextClassifier(self.model, threads=1, calls=self.calls)


def listen(host: str, port: int) -> socket:
    """Take a port.

    Args:
        host: address to listen on.
        port: port; 0 takes any that is free.

    Raises:
        PipelineError: it is taken or not allowed.
    """
    # The protocol is named because asyncio (Python 3.11) sets TCP_NODELAY on no other socket: the
    # body of an answer would wait 40 ms until the client acknowledges its head.
    listening = socket(AF_INET6 if ":" in host else AF_INET, SOCK_STREAM, IPPROTO_TCP)
    listening.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise PipelineError(
            f"port {port} of {host} is taken or not allowed; choose another: --port N."
        ) from error
    return listening


def serve_alone(listening: socket, service: Service, classifier: TextClassifier) -> None:
    """Serve in this process until Ctrl-C or SIGTERM.

    Args:
        listening: the port.
        service: what is served.
        classifier: its model.
    """
    answers = Answers(classifier, service.limits, service.calls)
    config = _config(application(answers, service.limits), service.limits)
    try:
        uvicorn.Server(config).run([listening])
    except KeyboardInterrupt:  # which uvicorn raises once more after it has ended
        pass
    finally:
        if not answers.stop(THREADS_SECONDS):
            # Python waits for its threads at exit, and a call of the runtime may take a minute.
            os._exit(0)


def serve_with_workers(listening: socket, service: Service, workers: int) -> None:
    """Serve in processes of their own until Ctrl-C or SIGTERM; one that dies is replaced.

    Args:
        listening: the port, which they share.
        service: what is served.
        workers: number of processes.

    Raises:
        PipelineError: one cannot load the model.
    """
    config = _config(
        partial(_application_of_worker, service),
        service.limits,
        factory=True,
        workers=workers,
        timeout_worker_healthcheck=HEALTHY_SECONDS,
    )
    supervisor = Multiprocess(config, [listening])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise PipelineError("a worker could not start, so that all have ended.")


def _config(app: Any, limits: Limits, **options: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="none",
        log_level="critical",
        timeout_graceful_shutdown=limits.stop_seconds,
        **options,
    )


def _application_of_worker(service: Service) -> Starlette:
    third_parties.prepare()
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        classifier = service.load()
    except PipelineError as error:
        complain(str(error))
        sys.exit(STARTUP_FAILURE)
    return application(Answers(classifier, service.limits, service.calls), service.limits)


def _end_with_parent() -> None:
    """End this worker when its parent was killed: it would hold the port for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
