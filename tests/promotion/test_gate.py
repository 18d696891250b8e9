from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.evaluation.significance import mcnemar
from pipeline.promotion import gate
from pipeline.promotion.gate import Candidate, Floor, Gate, Measured, checks, load_gate

RIGHT = np.arange(2000) % 10 != 0  # 90 % of 2,000 texts
MODEL = Measured(Path("candidate"), RIGHT, size_mb=16.0, latency_p50_ms=0.5)
CANDIDATE = Candidate(0.002, 4.0, MODEL, Floor("that of a coin", np.arange(2000) % 2 == 0))


def verdict(candidate: Candidate, champion: Measured | None, line: str) -> tuple[bool, str]:
    (found,) = [check for check in checks(candidate, champion, Gate()) if check.line == line]
    return found.passed, found.reason


def against(champion: Measured, **changes: object) -> tuple[bool, str]:
    measured = replace(MODEL, **changes)
    floor = Floor("that of no answer", np.zeros(len(measured.right), dtype=bool))
    candidate = replace(CANDIDATE, measured=measured, floor=floor)
    return verdict(candidate, champion, "champion")


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


@pytest.mark.parametrize(("fp32", "shipped"), [(0.90, 0.89), (0.80, 0.79)])
def test_exactly_the_drop_that_the_gate_says_it_accepts_is_accepted(
    fp32: float, shipped: float
) -> None:
    passed, reason = verdict(
        replace(CANDIDATE, accuracy_drop=fp32 - shipped), None, "max_accuracy_drop"
    )
    assert passed
    assert reason == "validation accuracy -0.0100 against FP32, a drop of 0.01 is accepted"


def test_exactly_the_speed_and_size_that_the_gate_asks_for_are_enough() -> None:
    as_fast = replace(CANDIDATE, speedup=3.3 / 3.0)  # 1.0999999999999999
    assert all(check.passed for check in checks(as_fast, None, Gate(min_speedup=1.1)))
    champion = replace(MODEL, latency_p50_ms=0.03)
    assert against(champion, latency_p50_ms=0.0285)[0], "0.9500000000000001 of it"


def test_a_model_slower_than_fp32_is_refused() -> None:
    passed, reason = verdict(replace(CANDIDATE, speedup=0.8), None, "min_speedup")
    assert not passed
    assert "0.80 times as fast" in reason


def test_a_model_that_answers_everything_alike_is_refused_without_a_champion() -> None:
    constant = Floor("that of answering yes to everything", RIGHT)
    passed, reason = verdict(replace(CANDIDATE, floor=constant), None, "floor")
    assert not passed
    assert "0.9000 against 0.9000" in reason
    assert "answering yes to everything; it has to be above 0" in reason


def test_a_model_that_is_right_more_often_than_chance_explains_replaces_the_champion() -> None:
    assert against(replace(MODEL, right=flipped(RIGHT, 40))) == (
        True,
        "validation accuracy 0.9000 against 0.8800, difference +0.0139 to +0.0266 "
        "(0.95 confidence): more accurate",
    )
    assert not against(MODEL, right=flipped(RIGHT, 40), latency_p50_ms=0.1)[0]


def test_few_texts_on_which_a_worse_model_looks_equal_let_nothing_in() -> None:
    """60 texts, 0.8167 against 0.9167: McNemar's test finds no difference (p = 0.11)."""
    champion = np.arange(60) >= 5
    candidate = np.arange(60) >= 5
    candidate[10:17], candidate[0] = False, True
    assert (champion.mean(), candidate.mean()) == pytest.approx((0.9167, 0.8167), abs=1e-4)
    assert mcnemar(candidate, champion) > 0.05
    passed, reason = against(replace(MODEL, right=champion), right=candidate, latency_p50_ms=0.47)
    assert not passed
    assert "it may lose 0.01 or more, on 60 texts" in reason


def test_a_difference_within_noise_does_not_replace_the_champion() -> None:
    passed, reason = against(replace(MODEL, right=flipped(RIGHT, 3)))
    assert not passed
    assert "not inferior; 1.00 of its size, 1.00 of its latency; one of them must be 5%" in reason


@pytest.mark.parametrize("better", [{"size_mb": 12.0}, {"latency_p50_ms": 0.4}])
def test_a_model_that_is_not_inferior_wins_if_it_is_smaller_or_faster(
    better: dict[str, float],
) -> None:
    assert against(MODEL, **better)[0]
    assert against(MODEL, right=flipped(RIGHT, 3), **better)[0]
    assert not against(MODEL, right=flipped(RIGHT, 30), **better)[0]


def test_without_times_the_size_decides() -> None:
    untimed = replace(MODEL, latency_p50_ms=None)
    assert against(untimed, size_mb=12.0)[0]
    assert not against(untimed, latency_p50_ms=0.1)[0]


def test_every_gate_file_is_read() -> None:
    gates = {file.stem: load_gate(file.stem) for file in gate.GATES.glob("*.yaml")}
    assert gates["default"] == Gate()


def test_the_best_of_many_has_to_be_better_by_more() -> None:
    champion = replace(MODEL, right=flipped(RIGHT, 9))
    alone = verdict(CANDIDATE, champion, "champion")
    best = verdict(replace(CANDIDATE, chosen_from=20), champion, "champion")
    assert "more accurate" in alone[1]
    assert "more accurate" not in best[1]
    assert "(0.9975 confidence, as it may be the best of 20 runs)" in best[1]


def test_a_candidate_seldom_wins_by_having_been_chosen() -> None:
    """20 candidates and a champion of one accuracy: the best of them wins in 5 % of cases."""
    random, won = np.random.default_rng(0), 0
    for _ in range(200):
        answers = random.random((21, 400)) < 0.9
        best = max(answers[1:], key=np.sum)
        candidate = replace(CANDIDATE, measured=replace(MODEL, right=best), chosen_from=20)
        nothing = Floor("none", np.zeros(400, dtype=bool))
        champion = replace(MODEL, right=answers[0])
        won += (
            "more accurate" in verdict(replace(candidate, floor=nothing), champion, "champion")[1]
        )
    assert won <= 10


def test_a_gate_that_is_a_list_is_told(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("- max_accuracy_drop\n")
    with pytest.raises(PipelineError, match=r"gate.yaml is a list; a gate has KEY: VALUE lines"):
        load_gate(str(file))


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


def test_a_gate_that_cannot_be_reached_does_not_exist(closed: Path) -> None:
    for name in (closed / "gate.yaml", f"{'x' * 300}.yaml"):
        with pytest.raises(PipelineError, match=f"--gate {name} does not exist"):
            load_gate(str(name))


def test_a_gate_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "gate.yaml").write_text("min_speedup: 2.0\n")
    assert load_gate("~/gate.yaml").min_speedup == 2
