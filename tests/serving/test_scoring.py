import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from pipeline.inference.classifier import Step
from pipeline.serving.scoring import SMALL, Scoring


@dataclass
class Model:
    """Score texts by their length; the text "wait" waits until it may go on."""

    label_names: tuple[str, ...] = ("length",)
    calls: list[list[str]] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    may_go_on: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_once: int = 0
    most_at_once: int = 0

    def steps(self, texts: Sequence[str]) -> Iterator[Step]:
        self.calls.append(list(texts))
        return (partial(self._score, place, text) for place, text in enumerate(texts))

    def _score(self, place: int, text: str) -> tuple[list[int], np.ndarray]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if text == "wait":
            assert self.may_go_on.wait(20)
        with self.lock:
            self.at_once -= 1
            self.scored.append(text)
        if text == "bad":
            raise ValueError("this text is bad")
        return [place], np.array([[len(text)]], np.float32)


async def score(scoring: Scoring, *texts: str) -> list[float]:
    logits = await scoring.logits(texts, threading.Event())
    return [float(value) for value in logits[:, 0]]


async def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


@pytest.fixture
def model() -> Iterator[Model]:
    made = Model()
    yield made
    made.may_go_on.set()


def test_small_requests_that_wait_are_scored_together_and_answered_apart(model: Model) -> None:
    async def ask() -> None:
        scoring = Scoring(model, calls=1)
        first = asyncio.create_task(score(scoring, "wait"))
        await until(lambda: model.at_once)
        others = [asyncio.create_task(score(scoring, "a" * n, "b")) for n in range(20)]
        await asyncio.sleep(0.05)
        model.may_go_on.set()
        assert await first == [4]
        assert await asyncio.gather(*others) == [[n, 1] for n in range(20)]
        assert scoring.stop(5)

    asyncio.run(ask())
    assert [len(texts) for texts in model.calls] == [1, SMALL, 40 - SMALL]


def test_threads_share_the_small_requests_that_wait(model: Model) -> None:
    async def ask() -> None:
        scoring = Scoring(model, calls=2)
        busy = [asyncio.create_task(score(scoring, "wait")) for _ in range(2)]
        await until(lambda: model.at_once == 2)
        others = [asyncio.create_task(score(scoring, "a")) for _ in range(8)]
        await asyncio.sleep(0.05)
        model.may_go_on.set()
        await asyncio.gather(*busy, *others)

    asyncio.run(ask())
    assert max(len(texts) for texts in model.calls) <= 4


def test_a_large_request_lets_others_in_between(model: Model) -> None:
    async def ask() -> None:
        scoring = Scoring(model, calls=1)
        large = asyncio.create_task(score(scoring, "wait", *["aa"] * 2 * SMALL, "wait"))
        await until(lambda: model.at_once)
        small = asyncio.create_task(score(scoring, "a"))
        other = asyncio.create_task(score(scoring, *["aaa"] * 2 * SMALL))
        await asyncio.sleep(0.05)
        model.may_go_on.set()
        assert await small == [1]
        assert await other == [3] * 2 * SMALL
        assert await large == [4, *[2] * 2 * SMALL, 4]

    asyncio.run(ask())
    # The large one is in the queue again before its first text is scored.
    assert model.scored[:6] == ["wait", "aa", "a", "aaa", "aa", "aaa"]


def test_all_threads_work_on_a_large_request(model: Model) -> None:
    async def ask() -> None:
        scoring = Scoring(model, calls=3)
        large = asyncio.create_task(score(scoring, *["wait"] * (SMALL + 1)))
        await until(lambda: model.at_once == 3)
        model.may_go_on.set()
        assert await large == [4] * (SMALL + 1)

    asyncio.run(ask())
    assert model.most_at_once == 3


@pytest.mark.parametrize("more", [0, SMALL])
def test_a_text_that_cannot_be_scored_fails_its_own_request_only(model: Model, more: int) -> None:
    async def ask() -> None:
        scoring = Scoring(model, calls=1)
        busy = asyncio.create_task(score(scoring, "wait"))
        await until(lambda: model.at_once)
        answers = asyncio.gather(
            score(scoring, "a"),
            score(scoring, "bad", *["b"] * more),
            score(scoring, "cc"),
            return_exceptions=True,
        )
        await asyncio.sleep(0.05)
        model.may_go_on.set()
        one, bad, two = await answers
        assert (one, two) == ([1], [2])
        assert isinstance(bad, ValueError)
        assert await busy == [4]
        assert await score(scoring, "after") == [5]

    asyncio.run(ask())


def test_what_nobody_waits_for_is_not_scored(model: Model) -> None:
    async def ask() -> None:
        scoring = Scoring(model, calls=1)
        busy = asyncio.create_task(score(scoring, "wait"))
        await until(lambda: model.at_once)
        abandoned = threading.Event()
        for texts in (["gone"], ["gone"] * (SMALL + 1)):
            asyncio.create_task(scoring.logits(texts, abandoned))  # noqa: RUF006
        await asyncio.sleep(0.05)
        abandoned.set()
        model.may_go_on.set()
        await busy
        assert await score(scoring, "after") == [5]

    asyncio.run(ask())
    scored = [texts for texts in model.calls if "gone" in texts]
    assert all(len(texts) > SMALL for texts in scored), "its steps are made, but not taken"


def test_a_server_that_stops_does_not_wait_for_a_large_request(model: Model) -> None:
    async def ask() -> bool:
        scoring = Scoring(model, calls=1)
        asyncio.create_task(score(scoring, "wait", *["a"] * 10 * SMALL))  # noqa: RUF006
        await until(lambda: model.at_once)
        threading.Timer(0.1, model.may_go_on.set).start()
        return scoring.stop(10)

    assert asyncio.run(ask())
