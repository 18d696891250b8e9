from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.evaluation.significance import mcnemar
from pipeline.promotion import gate
from pipeline.promotion.gate import Candidate, Gate, checks, load_gate

RIGHT = np.arange(2000) % 10 != 0  # 90 % of 2,000 rows
CANDIDATE = Candidate("a", "candidate", 0.002, 4.0, 16.0, 0.5, "a CPU", "digest", RIGHT)
CHAMPION = replace(CANDIDATE, run_id="b", name="champion")


def verdict(candidate: Candidate, champion: Candidate | None, line: str) -> tuple[bool, str]:
    (found,) = [check for check in checks(candidate, champion, Gate()) if check.line == line]
    return found.passed, found.reason


def flipped(rows: np.ndarray, count: int) -> np.ndarray:
    """The first rows that were right are wrong now."""
    changed = rows.copy()
    changed[np.flatnonzero(rows)[:count]] = False
    return changed


def test_the_first_good_model_becomes_champion() -> None:
    assert all(check.passed for check in checks(CANDIDATE, None, Gate()))


@pytest.mark.parametrize(
    ("drop", "passes"), [(0.0099, True), (0.01, True), (0.0101, False), (float("nan"), False)]
)
def test_the_accuracy_drop_has_a_limit(drop: float, passes: bool) -> None:
    assert verdict(replace(CANDIDATE, accuracy_drop=drop), None, "max_accuracy_drop")[0] is passes


def test_a_model_slower_than_fp32_is_refused() -> None:
    passed, reason = verdict(replace(CANDIDATE, speedup=0.8), None, "min_speedup")
    assert not passed
    assert "0.80 times as fast" in reason


def test_a_model_that_is_right_more_often_than_chance_explains_replaces_the_champion() -> None:
    weaker = replace(CHAMPION, right=flipped(RIGHT, 40))
    assert verdict(CANDIDATE, weaker, "champion")[0]
    assert not verdict(replace(weaker, run_id="c"), CANDIDATE, "champion")[0]


def test_a_difference_within_noise_does_not_replace_the_champion() -> None:
    weaker = replace(CHAMPION, right=flipped(RIGHT, 3))
    passed, reason = verdict(CANDIDATE, weaker, "champion")
    assert not passed
    assert "equal but for noise" in reason


@pytest.mark.parametrize("better", [{"size_mb": 12.0}, {"latency_p50_ms": 0.4}])
def test_at_equal_accuracy_the_smaller_or_faster_model_wins(better: dict[str, float]) -> None:
    assert verdict(replace(CANDIDATE, **better), CHAMPION, "champion")[0]


def test_latencies_of_two_cpus_are_not_compared() -> None:
    passed, reason = verdict(
        replace(CANDIDATE, latency_p50_ms=0.1), replace(CHAMPION, cpu="another"), "champion"
    )
    assert not passed
    assert "timed on another CPU (another)" in reason


def test_another_test_split_is_not_compared() -> None:
    passed, reason = verdict(CANDIDATE, replace(CHAMPION, test_digest="other"), "champion")
    assert not passed
    assert "another test split (digest and other)" in reason


def test_the_champion_does_not_replace_itself() -> None:
    assert not verdict(CHAMPION, CHAMPION, "champion")[0]


def test_mcnemar_is_the_exact_binomial_test_of_the_disagreements() -> None:
    one, other = (
        np.array([True] * 8 + [False] * 2 + [True] * 90),
        np.array([False] * 8 + [True] * 2 + [True] * 90),
    )
    assert mcnemar(one, other) == pytest.approx(2 * (1 + 10 + 45) / 2**10)  # P(X <= 2 of 10), twice
    assert mcnemar(one, one) == 1.0


def test_every_gate_file_is_read() -> None:
    for file in gate.GATES.glob("*.yaml"):
        assert isinstance(load_gate(file.stem), Gate)


def test_an_unknown_gate_or_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="--gate defalt is unknown; did you mean default?"):
        load_gate("defalt")
    monkeypatch.setattr(gate, "GATES", tmp_path)
    (tmp_path / "mine.yaml").write_text("max_acuracy_drop: 0.1\n")
    with pytest.raises(
        PipelineError,
        match=r"mine.yaml: .*max_acuracy_drop.*; a gate has: max_accuracy_drop, min_speedup",
    ):
        load_gate("mine")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [1,\n", "cannot be read: while parsing a flow node"),
        (b"\xff\xfe", "cannot be read: "),
        (b"max_accuracy_drop: -5\n", "max_accuracy_drop=-5.0 must be at least -1 and at most 1"),
        (b"min_speedup: .nan\n", "min_speedup=nan must be at least 0"),
    ],
)
def test_a_gate_that_cannot_be_meant_is_one_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(PipelineError) as caught:
        load_gate(str(file))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
