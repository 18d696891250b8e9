"""python -m pipeline.promote without runs; tests/e2e/test_promotion.py has real ones."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline import promote
from pipeline.evaluation.benchmark import Benchmark, Point
from pipeline.models.artifact import Artifact
from pipeline.promotion import measurement
from pipeline.promotion.gate import Floor, Gate, Measured
from pipeline.promotion.registry import Registry

TEXTS = 2000
CANDIDATE = Measured(Path("candidate"), np.arange(TEXTS) >= 203, size_mb=8.0)
CHAMPION = Measured(Path("champion"), np.arange(TEXTS) >= 200, size_mb=16.0)
LATENCY_MS = {CANDIDATE.directory: 0.3, CHAMPION.directory: 1.0}


def test_a_corpus_that_cannot_be_read_is_no_fault_of_the_store(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "texts.arrow")

    run = SimpleNamespace(run_id="0" * 32, digests={})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setattr(Registry, "shipped", lambda *_: run)
    monkeypatch.setattr(Registry, "config", lambda *_: SimpleNamespace(dataset=None))
    monkeypatch.setattr(measurement, "read_again", gone)
    assert promote.main(["0" * 32]) == 2
    assert capsys.readouterr().err.startswith("error: texts.arrow: No such file or directory")


@pytest.fixture
def rivals(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A registry whose champion gets three more texts right than the candidate of run 0123."""

    def timed(artifacts: list[Artifact], *_: object) -> dict[str, Benchmark]:
        times = {each.variant: LATENCY_MS[each.path] for each in artifacts}
        points = {name: Point(1, None, p50, p50, p50, (p50,)) for name, p50 in times.items()}
        return {name: Benchmark(name, 0.1, 100.0, (point,)) for name, point in points.items()}

    corpus = SimpleNamespace(splits={"validation": {"text": []}}, label_names=("cold", "hot"))
    floor = Floor("that of no answer", np.zeros(TEXTS, dtype=bool))
    measured = {each.directory: each for each in (CANDIDATE, CHAMPION)}
    monkeypatch.setattr(promote, "model_directory", {"0123": CANDIDATE.directory}.__getitem__)
    monkeypatch.setattr(measurement, "read_again", lambda *_: corpus)
    monkeypatch.setattr(measurement, "measure", lambda directory, *_: measured[directory])
    monkeypatch.setattr(measurement, "benchmark", timed)
    monkeypatch.setattr(measurement, "floor_of", lambda *_: floor)
    return SimpleNamespace(
        champion_directory=lambda: CHAMPION.directory,
        config=lambda _: SimpleNamespace(dataset=None),
        linear_directory=lambda _: None,
    )


def test_a_candidate_is_judged_against_the_champion_by_what_each_answers_and_costs(
    rivals: SimpleNamespace,
) -> None:
    run = SimpleNamespace(run_id="0123", digests={}, accuracy_drop=0, speedup=4, chosen_from=1)
    *_, champion = promote._verdicts(rivals, run, "4567", Gate())[0]
    assert "accuracy 0.8985 against 0.9000, difference" in champion.reason
    assert champion.reason.endswith("not inferior; 0.50 of its size, 0.30 of its latency")
    assert champion.passed


def test_the_best_run_of_a_sweep_is_judged_as_the_best_of_many(rivals: SimpleNamespace) -> None:
    run = SimpleNamespace(run_id="0123", digests={}, accuracy_drop=0, speedup=4, chosen_from=20)
    *_, floor, champion = promote._verdicts(rivals, run, "4567", Gate())[0]
    for check in (floor, champion):
        assert "(0.9975 confidence, as it may be the best of 20 runs)" in check.reason
