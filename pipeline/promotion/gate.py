"""What a model has to show before it becomes the champion."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.errors import PipelineError, nearest
from pipeline.evaluation.significance import mcnemar

GATES = Path(__file__).parents[2] / "conf" / "gate"


@dataclass
class Gate:
    """What a model has to show.

    Args:
        max_accuracy_drop: the FP32 model's test accuracy minus the shipped one's, at most.
        min_speedup: p50 latency of FP32 in PyTorch over the shipped one's, at least.
        significance: of McNemar's test between candidate and champion; a difference above it counts as noise.
        min_gain: how much smaller or faster (as a share) a candidate of equal accuracy has to be.
    """

    max_accuracy_drop: float = 0.01
    min_speedup: float = 1.0
    significance: float = 0.05
    min_gain: float = 0.05


@dataclass(frozen=True)
class Candidate:
    """What is known of a run's shipped model.

    Args:
        run_id: its run.
        name: the run's name.
        accuracy_drop: FP32 test accuracy minus that of the shipped model.
        speedup: p50 latency of FP32 in PyTorch over that of the shipped model, one text at a time.
        size_mb: of the shipped model.
        latency_p50_ms: of the shipped model, one text at a time.
        cpu: on which it was timed.
        test_digest: of the test split that it was measured on.
        right: (test rows,) bool: which rows it got right, in the order of the split.
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


@dataclass(frozen=True)
class Check:
    """One line of the gate.

    Args:
        line: the gate's key.
        passed: the verdict.
        reason: figures behind it.
    """

    line: str
    passed: bool
    reason: str


def checks(candidate: Candidate, champion: Candidate | None, gate: Gate) -> list[Check]:
    """Hold a candidate against every line of the gate.

    Args:
        candidate: who wants to be champion.
        champion: who is; None if no one is yet.
        gate: the lines.
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
            f"{speedup:.2f} times as fast as FP32 in PyTorch, at least {gate.min_speedup:g} is accepted",
        ),
        _against_champion(candidate, champion, gate),
    ]


def _against_champion(candidate: Candidate, champion: Candidate | None, gate: Gate) -> Check:
    if champion is None:
        return Check("champion", True, "there is no champion yet")
    if candidate.run_id == champion.run_id:
        return Check("champion", False, "it is the champion already")
    if candidate.test_digest != champion.test_digest:
        found = f"{candidate.test_digest} and {champion.test_digest}"
        return Check(
            "champion",
            False,
            f"the champion was measured on another test split ({found}): they cannot be compared",
        )
    p_value = mcnemar(candidate.right, champion.right)
    accuracies = f"accuracy {candidate.right.mean():.4f} against {champion.right.mean():.4f}, p={p_value:.2g}"
    if p_value < gate.significance:
        return Check("champion", bool(candidate.right.mean() > champion.right.mean()), accuracies)
    size = candidate.size_mb / champion.size_mb
    relation = f"{accuracies}: equal but for noise; {size:.2f} of its size"
    gained = size <= 1 - gate.min_gain
    if candidate.cpu == champion.cpu:
        time = candidate.latency_p50_ms / champion.latency_p50_ms
        relation += f", {time:.2f} of its latency"
        gained = gained or time <= 1 - gate.min_gain
    else:
        relation += f", timed on another CPU ({champion.cpu})"
    return Check(
        "champion",
        gained,
        relation if gained else f"{relation}; one has to be {gate.min_gain:.0%} less",
    )


def load_gate(name: str) -> Gate:
    """Read conf/gate/NAME.yaml.

    Raises:
        PipelineError: there is no such gate, or it has an unknown key or a wrong value.
    """
    file = GATES / f"{name}.yaml"
    if not file.is_file():
        raise PipelineError(
            f"--gate {name} is unknown; {nearest(name, [gate.stem for gate in GATES.glob('*.yaml')])}"
        )
    try:
        merged = OmegaConf.to_object(
            OmegaConf.merge(OmegaConf.structured(Gate), OmegaConf.load(file))
        )
    except OmegaConfBaseException as error:
        known = ", ".join(field.name for field in fields(Gate))
        raise PipelineError(
            f"{file.name}: {str(error).splitlines()[0]}; a gate has: {known}."
        ) from error
    if not isinstance(merged, Gate):
        raise TypeError(f"a gate was expected, not {type(merged).__name__}")
    return merged
