"""Answer requests with a classifier in threads that stop when nobody waits for them any more."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event
from typing import Any, TypeVar

import numpy as np

from pipeline.errors import PipelineError
from pipeline.inference.classifier import TextClassifier
from pipeline.serving.limits import Limits, RefusedError
from pipeline.serving.payload import read_texts
from pipeline.serving.scoring import Scoring

# Python's objects take up to 25 times the bytes of their JSON, and json keeps the interpreter's
# lock: a second reader would take memory and no time off.
READERS = 1
SHORT_BYTES = 16_384  # a body that is read at once, which takes less than to hand it to a reader
SHORT_SCORES = 1000  # of all classes and texts of an answer that is written at once, likewise
WRITTEN_AT_ONCE = 64

Result = TypeVar("Result")


class Answers:
    """Answer requests, a few at a time; the others wait.

    Args:
        classifier: the model.
        limits: how long a request waits and is worked on.
        calls: calls of the model that are made at once.
    """

    def __init__(self, classifier: TextClassifier, limits: Limits, calls: int) -> None:
        self._classifier = classifier
        self._limits = limits
        self._readers = ThreadPoolExecutor(READERS, "read")
        self._reading: set[Future[Any]] = set()
        self._scoring = Scoring(classifier, calls)

    async def answer(self, body: bytes | bytearray, content_type: str) -> bytes:
        """Answer one request.

        Args:
            body: body of the request.
            content_type: its media type.

        Returns:
            JSON with a list `predictions`, as MLflow's scoring server writes it.

        Raises:
            RefusedError: the request is not accepted, or takes too long (HTTP 504).
        """
        abandoned = Event()
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                if len(body) <= SHORT_BYTES:
                    texts = read_texts(body, content_type)
                else:
                    texts = await self._apart(lambda: read_texts(body, content_type))
                logits = await self._scoring.logits(texts, abandoned)
                if logits.size <= SHORT_SCORES:
                    return self._written(logits)
                return await self._apart(lambda: self._written(logits))
        except RefusedError:
            raise
        except PipelineError as error:  # a model of pairs, and a text that is none
            raise RefusedError(400, str(error)) from error
        except TimeoutError as error:
            raise RefusedError(
                504,
                f"no answer within {self._limits.answer_seconds:g} s; send fewer texts at once, or "
                "raise --timeout.",
            ) from error
        finally:
            abandoned.set()

    def stop(self, seconds: float) -> bool:
        """Take no more work, and wait for what is under way.

        Args:
            seconds: longest time to wait.

        Returns:
            Whether all threads have ended; a call of the runtime cannot be interrupted.
        """
        self._readers.shutdown(wait=False, cancel_futures=True)
        has_scored = self._scoring.stop(seconds)
        return not wait(self._reading, seconds).not_done and has_scored

    async def _apart(self, work: Callable[[], Result]) -> Result:
        """Do what takes long in a thread, so that other requests go on."""
        future = self._readers.submit(work)
        self._reading.add(future)
        future.add_done_callback(self._reading.discard)
        return await asyncio.wrap_future(future)

    def _written(self, logits: np.ndarray) -> bytes:
        """Write the answers, a few at a time: a model of many classes answers at length."""
        parts, size = [], 0
        for start in range(0, len(logits), WRITTEN_AT_ONCE):
            answers = self._classifier.answers(logits[start : start + WRITTEN_AT_ONCE])
            parts.append(json.dumps(answers)[1:-1].encode())
            size += len(parts[-1])
            if size > self._limits.answer_bytes:
                raise RefusedError(
                    413,
                    f"the answer is longer than {self._limits.answer_bytes:,} bytes; send fewer "
                    "texts at once.",
                )
        return b'{"predictions": [' + b", ".join(parts) + b"]}"
