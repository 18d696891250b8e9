import threading
import time

import pytest

from pipeline.sweeps import progress
from pipeline.sweeps.progress import Progress, _pause_s


@pytest.mark.parametrize(("poll_s", "pause_s"), [(0.01, 1.0), (0.2, 4.0), (5.0, 30.0)])
def test_reading_the_jobs_that_run_takes_a_twentieth_of_the_time_or_half_a_minute_passes(
    poll_s: float, pause_s: float
) -> None:
    assert _pause_s(poll_s) == pytest.approx(pause_s)


def test_a_store_that_takes_its_time_is_asked_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    asked = threading.Semaphore(0)

    def read(_: float) -> list[progress.ChildRun]:
        time.sleep(0.02)
        asked.release()
        return []

    shown = Progress(1, ["loss"])
    with shown.watching(read, lambda _: None):
        assert asked.acquire(timeout=10)
        assert not asked.acquire(timeout=0.2), "a pause of 0.4 s"
    shown.close()
