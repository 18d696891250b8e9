"""Runs of jobs that a test adds to a sweep, read as from a store."""

import re

from pipeline.sweeps.children import Children, ChildRun, Place

OBJECTIVE = "validation_accuracy"


def run_of(
    job: str, accuracy: float, status: str = "FINISHED", *, run_id: str = "", started_ms: int = 0
) -> ChildRun:
    run_id = run_id or job
    return ChildRun(run_id, run_id, status, "", job, {}, {}, {OBJECTIVE: accuracy}, started_ms, 1)


class WrittenChildren(Children):
    """Children of which a test is the store: every read sees all of `stored`."""

    def __init__(self, *stored: ChildRun) -> None:
        super().__init__(Place(None, "1", "p"), [OBJECTIVE], lambda request, _: request())
        self.stored = list(stored)

    def _matching(self, filter_string: str = "") -> list[ChildRun]:
        job = re.search(r"config.hash` = '(\w+)'", filter_string)
        return [each for each in self.stored if not job or each.config_hash == job[1]]
