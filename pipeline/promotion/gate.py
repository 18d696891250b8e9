"""Decide whether a model may become the champion."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.paths import is_file, with_home
from pipeline.config.ranges import at_most, number, numbers
from pipeline.errors import PipelineError, nearest
from pipeline.evaluation.intervals import Interval, accuracy_difference_interval

GATES = Path(__file__).parents[1] / "conf" / "gate"
FLOOR_CHECK = "floor"
CHAMPION_CHECK = "champion"


@dataclass
class Gate:
    """What a model has to show, on the validation split.

    Args:
        max_accuracy_drop: largest accepted loss of accuracy: of the shipped model against the FP32
            one of its run, and, with confidence, against the champion.
        min_speedup: smallest accepted ratio between the p50 latency of FP32 in PyTorch and the
            shipped model's.
        significance: share of cases in which an interval may miss: 0.05 makes 95 % intervals. It is
            divided by the number of runs that the candidate was chosen from on the same texts
            (Bonferroni): the best of many seems better than it is.
        min_gain: share by which a candidate that is not more accurate than the champion has to be
            smaller or faster.
        beats_baseline: whether it has to be more accurate than the linear model of its run; if not,
            or if its run has none, than answering the most frequent class to everything.
    """

    max_accuracy_drop: float = number(0.01, at_least=-1, at_most=1)
    min_speedup: float = number(1.0, at_least=0)
    significance: float = number(0.05, above=0, below=1)
    min_gain: float = number(0.05, at_least=0, below=1)
    beats_baseline: bool = True


@dataclass(frozen=True)
class Measured:
    """A model's file on the candidate's validation split, on this machine.

    Args:
        directory: directory with the file.
        right: whether it got each text right, (rows,) bool.
        size_mb: size of the weights, in MB of 1,000,000 bytes.
        latency_p50_ms: p50 latency of one text, in ms; None if there was no rival to time it with.
    """

    directory: Path
    right: np.ndarray
    size_mb: float
    latency_p50_ms: float | None = None

    @property
    def accuracy(self) -> float:
        """Share of texts that the model got right."""
        return float(self.right.mean())


@dataclass(frozen=True)
class Floor:
    """The cheapest answers, which a model has to beat.

    Args:
        name: what it is, as the gate's table says.
        right: whether it gets each text of the validation split right, (rows,) bool.
    """

    name: str
    right: np.ndarray


@dataclass(frozen=True)
class Candidate:
    """A run's shipped model that is to become the champion.

    Args:
        accuracy_drop: FP32 validation accuracy minus that of the shipped model, in its run.
        speedup: p50 latency of FP32 in PyTorch over that of the shipped model, in its run.
        measured: the shipped model, measured now.
        floor: what it has to beat on the same texts.
        chosen_from: number of runs of which it may be the best on these texts.
    """

    accuracy_drop: float
    speedup: float
    measured: Measured
    floor: Floor
    chosen_from: int = 1


@dataclass(frozen=True)
class Check:
    """The verdict of one line of the gate.

    Args:
        line: key of the gate, or "floor" or "champion" for the comparison with these.
        passed: whether the candidate passed.
        reason: the figures behind the verdict.
    """

    line: str
    passed: bool
    reason: str


def checks(candidate: Candidate, champion: Measured | None, gate: Gate) -> list[Check]:
    """Check a candidate against every line of the gate.

    Args:
        candidate: model that is to become the champion.
        champion: present champion, measured beside the candidate; None if there is none yet.
        gate: what the candidate has to show.
    """
    drop, speedup = candidate.accuracy_drop, candidate.speedup
    return [
        Check(
            "max_accuracy_drop",
            at_most(drop, gate.max_accuracy_drop),
            f"validation accuracy {-drop:+.4f} against FP32, a drop of {gate.max_accuracy_drop:g} "
            "is accepted",
        ),
        Check(
            "min_speedup",
            at_most(gate.min_speedup, speedup),
            f"{speedup:.2f} times as fast as FP32 in PyTorch, at least {gate.min_speedup:g} is "
            "accepted",
        ),
        _against_floor(candidate, gate),
        _against_champion(candidate, champion, gate),
    ]


def _against_floor(candidate: Candidate, gate: Gate) -> Check:
    floor = candidate.floor
    interval, reason = _difference(candidate, floor.right, gate)
    return Check(FLOOR_CHECK, interval.low > 0, f"{reason}, {floor.name}; it has to be above 0")


def _against_champion(candidate: Candidate, champion: Measured | None, gate: Gate) -> Check:
    """Demand that the candidate is not inferior, and either more accurate or cheaper.

    That a test finds no difference does not show that there is none: of few texts, it finds none
    of any size. So the interval of the difference has to lie above the largest accepted loss.
    """
    if champion is None:
        return Check(CHAMPION_CHECK, True, "there is no champion yet")
    interval, reason = _difference(candidate, champion.right, gate)
    if interval.low > 0:
        return Check(CHAMPION_CHECK, True, f"{reason}: more accurate")
    if at_most(interval.low, -gate.max_accuracy_drop):
        rows = len(champion.right)
        reason += f": it may lose {gate.max_accuracy_drop:g} or more, on {rows:,}"
        return Check(CHAMPION_CHECK, False, f"{reason} texts")
    return _by_cost(candidate.measured, champion, gate, f"{reason}: not inferior")


def _difference(candidate: Candidate, other_right: np.ndarray, gate: Gate) -> tuple[Interval, str]:
    right, runs = candidate.measured.right, candidate.chosen_from
    confidence = 1 - gate.significance / runs
    interval = accuracy_difference_interval(right, other_right, confidence)
    accuracies = f"validation accuracy {right.mean():.4f} against {other_right.mean():.4f}"
    ends = f"{interval.low:+.4f} to {interval.high:+.4f}"
    chosen = f", as it may be the best of {runs:,} runs" if runs > 1 else ""
    return interval, f"{accuracies}, difference {ends} ({confidence:.4g} confidence{chosen})"


def _by_cost(candidate: Measured, champion: Measured, gate: Gate, reason: str) -> Check:
    """Decide between two models of like accuracy by size and latency."""
    ratios = {"size": candidate.size_mb / champion.size_mb}
    if candidate.latency_p50_ms is not None and champion.latency_p50_ms is not None:
        ratios["latency"] = candidate.latency_p50_ms / champion.latency_p50_ms
    listed = ", ".join(f"{ratio:.2f} of its {cost}" for cost, ratio in ratios.items())
    reason = f"{reason}; {listed}"
    passed = at_most(min(ratios.values()), 1 - gate.min_gain)
    if not passed:
        reason += f"; one of them must be {gate.min_gain:.0%} less"
    return Check(CHAMPION_CHECK, passed, reason)


def load_gate(name: str) -> Gate:
    """Read a gate: one of conf/gate/, or a file of the user's.

    Args:
        name: name of a file in conf/gate/ without its ending, or the path of a .yaml file.

    Raises:
        PipelineError: there is no such gate, it cannot be read, or it has an unknown key or a wrong
            value.
    """
    is_path = name.endswith((".yaml", ".yml"))
    file = Path(with_home(name)) if is_path else GATES / f"{name}.yaml"
    if is_path and not is_file(file):
        raise PipelineError(f"--gate {name} does not exist.")
    if not is_file(file):
        gates = [gate.stem for gate in GATES.glob("*.yaml")]
        raise PipelineError(f"--gate {name} is unknown; {nearest(name, gates)}")
    try:
        read = OmegaConf.load(file)
        if not isinstance(read, DictConfig):
            raise PipelineError(f"--gate {name} is a list; a gate has KEY: VALUE lines.")
        merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Gate), read))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"--gate {name} cannot be read: {reason}.") from error
    except OmegaConfBaseException as error:
        accepted = ", ".join(field.name for field in fields(Gate))
        raise PipelineError(
            f"{file.name}: {str(error).splitlines()[0]}; a gate has: {accepted}."
        ) from error
    if not isinstance(merged, Gate):
        raise TypeError(f"a gate was expected, not {type(merged).__name__}")
    for key, value, accepted_range in numbers(merged):
        if value not in accepted_range:
            raise PipelineError(f"{file.name}: {key}={value} must be {accepted_range}.")
    return merged
