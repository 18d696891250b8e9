"""Score the texts of many requests in a few threads: small requests together, large ones in turns.

A thread that is free takes its share of the small requests that wait, and scores their texts
together: what a call costs beside the model's own work is then paid once, and texts of one length
share a batch. It does not wait for more of them. A large request goes back to the end of the queue
after each of its batches, so that others wait for a batch of it only; meanwhile a second thread may
take its next batch.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event, Lock

import numpy as np

from pipeline.inference.classifier import BATCH_SIZE, TextClassifier

SMALL = BATCH_SIZE  # texts that are scored in one go, of one request or of several


class _Request:
    """The texts of a request, and the future of their logits; `abandoned` if nobody waits."""

    def __init__(self, texts: Sequence[str], abandoned: Event) -> None:
        self.texts = texts
        self.abandoned = abandoned
        self.logits: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()


class _Job:
    """Requests that are scored together; `open_steps` are those that threads are at."""

    def __init__(self, requests: Sequence[_Request], classifier: TextClassifier) -> None:
        self.requests = requests
        texts = [text for request in requests for text in request.texts]
        self.logits = np.empty((len(texts), len(classifier.label_names)), np.float32)
        self.steps = classifier.steps(texts)
        self.open_steps = 0
        self.is_taken = False  # its last step as well

    @property
    def is_abandoned(self) -> bool:
        return all(request.abandoned.is_set() for request in self.requests)

    def fill(self, rows: Sequence[int], logits: np.ndarray) -> None:
        """Keep what a step has scored."""
        self.logits[rows] = logits

    def abandon(self, error: Exception) -> None:
        """Say what went wrong; nobody waits for the rest."""
        self.answer(error)
        for request in self.requests:
            request.abandoned.set()

    def answer(self, error: Exception | None = None) -> None:
        """Hand the logits, or what went wrong, to the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop = self.requests[0].logits.get_loop()
            loop.call_soon_threadsafe(self._answer, error)

    def _answer(self, error: Exception | None) -> None:
        place = 0
        for request in self.requests:
            own = self.logits[place : place + len(request.texts)]
            place += len(own)
            if request.logits.done():
                continue
            if error is None:
                request.logits.set_result(own)
            else:
                request.logits.set_exception(error)


class Scoring:
    """Score texts for an event loop.

    Args:
        classifier: the model.
        calls: threads; each makes one call of the model at a time.
    """

    def __init__(self, classifier: TextClassifier, calls: int) -> None:
        self._classifier = classifier
        self._calls = calls
        self._threads = ThreadPoolExecutor(calls, "score")
        self._working: set[Future[None]] = set()
        self._busy = 0
        self._waiting: deque[_Request | _Job] = deque()
        self._is_stopped = False
        self._lock = Lock()

    async def logits(self, texts: Sequence[str], abandoned: Event) -> np.ndarray:
        """Score the texts of a request.

        Args:
            texts: its texts.
            abandoned: is set when nobody waits for them any more.

        Returns:
            Logits (texts, num_labels), float32.

        Raises:
            PipelineError: the model classifies pairs, and a text is none.
        """
        request = _Request(texts, abandoned)
        is_small = len(texts) <= SMALL
        self._add(request if is_small else _Job([request], self._classifier))
        return await request.logits

    def stop(self, seconds: float) -> bool:
        """Take no more work, and wait for what is under way.

        Args:
            seconds: longest time to wait.

        Returns:
            Whether all threads have ended; a call of the model cannot be interrupted.
        """
        with self._lock:
            self._is_stopped = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        return not wait(self._working, seconds).not_done

    def _add(self, work: _Request | _Job) -> None:
        """Put work at the end of the queue, and wake a thread if one is free."""
        with self._lock:
            self._waiting.append(work)
            if self._busy == self._calls or self._is_stopped:
                return
            self._busy += 1
            future = self._threads.submit(self._work)
        self._working.add(future)
        future.add_done_callback(self._working.discard)

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            if isinstance(taken, _Job):
                self._step(taken)
            else:
                self._score(taken)

    def _take(self) -> _Job | list[_Request] | None:
        """Take what waits longest; of small requests that follow each other, this thread's share.

        Returns:
            None if nothing waits; the thread then counts as free.
        """
        with self._lock:
            if not self._waiting or self._is_stopped:
                self._busy -= 1
                return None
            first = self._waiting.popleft()
            if isinstance(first, _Job):
                return first
            share = -(-(1 + len(self._waiting)) // self._calls)
            requests, texts = [first], len(first.texts)
            while len(requests) < share and self._waiting:
                following = self._waiting[0]
                if isinstance(following, _Job) or texts + len(following.texts) > SMALL:
                    break
                texts += len(following.texts)
                self._waiting.popleft()
                requests.append(following)
            return requests

    def _score(self, requests: Sequence[_Request]) -> None:
        """Score small requests together; where that fails, each by itself."""
        waiting = [request for request in requests if not request.abandoned.is_set()]
        if not waiting:
            return
        job = _Job(waiting, self._classifier)
        try:
            for step in job.steps:
                job.fill(*step())
            job.answer()
        except Exception as error:
            if len(waiting) == 1:
                job.answer(error)
                return
            for request in waiting:
                self._score([request])

    def _step(self, job: _Job) -> None:
        """Take the next step of a large request; others may take the one behind it meanwhile."""
        if job.is_abandoned:
            return
        try:
            step = next(job.steps, None)
            if step is not None:
                with self._lock:
                    job.open_steps += 1
                self._add(job)
                job.fill(*step())
        except Exception as error:
            job.abandon(error)
            return
        with self._lock:
            if step is None:
                job.is_taken = True
            else:
                job.open_steps -= 1
            is_whole = job.is_taken and not job.open_steps
        if is_whole:
            job.answer()
