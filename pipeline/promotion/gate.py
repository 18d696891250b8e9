"""Decide whether a model may become the champion."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.ranges import number, numbers, share
from pipeline.errors import PipelineError, nearest
from pipeline.evaluation.significance import mcnemar

GATES = Path(__file__).parents[1] / "conf" / "gate"
CHAMPION_CHECK = "champion"


@dataclass
class Gate:
    """What a model has to show.

    Args:
        max_accuracy_drop: largest accepted difference between the FP32 model's test accuracy and
            the shipped model's.
        min_speedup: smallest accepted ratio between the p50 latency of FP32 in PyTorch and the
            shipped model's.
        significance: p-value of McNemar's test between candidate and champion above which their
            difference in accuracy counts as noise.
        min_gain: share by which a candidate of equal accuracy has to be smaller or faster.
    """

    max_accuracy_drop: float = number(0.01, at_least=-1, at_most=1)
    min_speedup: float = number(1.0, at_least=0)
    significance: float = share(0.05)
    min_gain: float = number(0.05, at_least=0, below=1)


@dataclass(frozen=True)
class Candidate:
    """The figures of a run's shipped model.

    Args:
        run_id: id of the run.
        name: name of the run.
        accuracy_drop: FP32 test accuracy minus that of the shipped model.
        speedup: p50 latency of FP32 in PyTorch over that of the shipped model, one text at a time.
        size_mb: size of the shipped model, in MB.
        latency_p50_ms: p50 latency of the shipped model, one text at a time, in ms.
        cpu: CPU that it was timed on.
        test_digest: digest of the test split that it was measured on.
        right: whether it got each test row right, in the order of the split, (rows,) bool.
    """

    run_id: str
    name: str
    accuracy_drop: float
    speedup: float
    size_mb: float
    latency_p50_ms: float
    cpu: str
    test_digest: str
    right: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of test rows that the model got right."""
        return float(self.right.mean())


@dataclass(frozen=True)
class Check:
    """The verdict of one line of the gate.

    Args:
        line: key of the gate, or "champion" for the comparison with the champion.
        passed: whether the candidate passed.
        reason: the figures behind the verdict.
    """

    line: str
    passed: bool
    reason: str


def checks(candidate: Candidate, champion: Candidate | None, gate: Gate) -> list[Check]:
    """Check a candidate against every line of the gate.

    Args:
        candidate: model that is to become the champion.
        champion: present champion; None if there is none yet.
        gate: what the candidate has to show.
    """
    drop, speedup = candidate.accuracy_drop, candidate.speedup
    return [
        Check(
            "max_accuracy_drop",
            bool(drop <= gate.max_accuracy_drop),
            f"accuracy drop {drop:.4f}, at most {gate.max_accuracy_drop:g} is accepted",
        ),
        Check(
            "min_speedup",
            bool(speedup >= gate.min_speedup),
            f"{speedup:.2f} times as fast as FP32 in PyTorch, at least {gate.min_speedup:g} is "
            "accepted",
        ),
        _against_champion(candidate, champion, gate),
    ]


def _against_champion(candidate: Candidate, champion: Candidate | None, gate: Gate) -> Check:
    if champion is None:
        return Check(CHAMPION_CHECK, True, "there is no champion yet")
    if candidate.run_id == champion.run_id:
        return Check(CHAMPION_CHECK, False, "it is the champion already")
    if candidate.test_digest != champion.test_digest:
        return Check(
            CHAMPION_CHECK,
            False,
            "the champion was measured on another test split "
            f"({candidate.test_digest} and {champion.test_digest}): they cannot be compared",
        )
    p_value = mcnemar(candidate.right, champion.right)
    accuracies = (
        f"accuracy {candidate.accuracy:.4f} against {champion.accuracy:.4f}, p={p_value:.2g}"
    )
    if p_value < gate.significance:
        return Check(CHAMPION_CHECK, candidate.accuracy > champion.accuracy, accuracies)
    return _by_cost(candidate, champion, gate, f"{accuracies}: equal but for noise")


def _by_cost(candidate: Candidate, champion: Candidate, gate: Gate, accuracies: str) -> Check:
    """Decide between two models of equal accuracy by size and, on the same CPU, by latency."""
    most = 1 - gate.min_gain
    size = candidate.size_mb / champion.size_mb
    reason = f"{accuracies}; {size:.2f} of its size"
    passed = size <= most
    if candidate.cpu == champion.cpu:
        latency = candidate.latency_p50_ms / champion.latency_p50_ms
        reason += f", {latency:.2f} of its latency"
        passed = passed or latency <= most
    else:
        reason += f", timed on another CPU ({champion.cpu})"
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
    file = Path(name) if is_path else GATES / f"{name}.yaml"
    if is_path and not file.is_file():
        raise PipelineError(f"--gate {name} does not exist.")
    if not file.is_file():
        gates = [gate.stem for gate in GATES.glob("*.yaml")]
        raise PipelineError(f"--gate {name} is unknown; {nearest(name, gates)}")
    try:
        merged = OmegaConf.to_object(
            OmegaConf.merge(OmegaConf.structured(Gate), OmegaConf.load(file))
        )
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
