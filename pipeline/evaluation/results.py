"""Hold what a stored artifact answers, and name its figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.benchmark import Benchmark
from pipeline.evaluation.calibration import expected_calibration_error
from pipeline.evaluation.intervals import (
    Interval,
    accuracy_interval,
    ece_interval,
    f1_interval,
)
from pipeline.evaluation.metrics import Metrics, score
from pipeline.models.artifact import Artifact
from pipeline.names import (
    ACCURACY,
    ACCURACY_DROP,
    ECE,
    F1_MACRO,
    FP32,
    LATENCY_P50_MS,
    SIZE_MB,
    SIZE_RATIO,
    SPEEDUP,
    WITH_INTERVAL,
    figure_of,
    interval_of,
    on_validation,
)


@dataclass(frozen=True)
class Result:
    """A stored artifact and its answers.

    Args:
        artifact: directory that was loaded.
        logits: answers to the test split, (rows, num_labels), float32, in the order of the split.
        metrics: figures of these logits.
        ece: their expected calibration error, 0 to 1.
        intervals: 95 % confidence intervals of accuracy, macro F1 and calibration error, by name.
        validation_logits: the same for the validation split, by which a run decides.
        validation_metrics: figures of those.
    """

    artifact: Artifact
    logits: np.ndarray
    metrics: Metrics
    ece: float
    intervals: Mapping[str, Interval]
    validation_logits: np.ndarray
    validation_metrics: Metrics

    @property
    def variant(self) -> str:
        """The prefix of the artifact's figures."""
        return self.artifact.variant

    @property
    def predictions(self) -> np.ndarray:
        """Predicted label ids of the test split, (rows,)."""
        predicted: np.ndarray = self.logits.argmax(axis=-1)
        return predicted

    @property
    def validation_predictions(self) -> np.ndarray:
        """Predicted label ids of the validation split, (rows,)."""
        predicted: np.ndarray = self.validation_logits.argmax(axis=-1)
        return predicted


@dataclass(frozen=True)
class Answers:
    """What a model answers to a split.

    Args:
        logits: logits of each text, (rows, num_labels), float32.
        labels: true label ids, (rows,), int64.
    """

    logits: np.ndarray
    labels: np.ndarray


def result_of(artifact: Artifact, test: Answers, validation: Answers) -> Result:
    """Score an artifact on both splits.

    Args:
        artifact: directory that was loaded.
        test: its answers to the test split.
        validation: its answers to the validation split.
    """
    metrics = score(test.logits, test.labels)
    return Result(
        artifact=artifact,
        logits=test.logits,
        metrics=metrics,
        ece=expected_calibration_error(test.logits, test.labels),
        intervals={
            ACCURACY: accuracy_interval(int(np.trace(metrics.confusion)), len(test.labels)),
            F1_MACRO: f1_interval(metrics.confusion),
            ECE: ece_interval(test.logits, test.labels),
        },
        validation_logits=validation.logits,
        validation_metrics=score(validation.logits, validation.labels),
    )


def final_figures(
    results: Mapping[str, Result],
    benchmarks: Mapping[str, Benchmark],
    shipped: str,
) -> dict[str, float]:
    """Name the figures of every variant with its prefix, and those of the shipped one without.

    Args:
        results: result of each variant; fp32 is among them.
        benchmarks: benchmark of each variant; may be empty.
        shipped: variant that is shipped.
    """
    figures: dict[str, float] = {}
    for variant, result in results.items():
        scalars = {
            **result.metrics.scalars,
            SIZE_MB: result.artifact.size_mb,
            ECE: result.ece,
            **dict(_ends(result, WITH_INTERVAL)),
            **_validation_figures(result),
        }
        figures |= {figure_of(variant, name): value for name, value in scalars.items()}
    for benchmark in benchmarks.values():
        figures |= benchmark.figures
    fp32, best = results[FP32], results[shipped]
    figures |= {
        **best.metrics.scalars,
        **dict(_ends(best, (ACCURACY, F1_MACRO))),
        **_validation_figures(best),
        ACCURACY_DROP: fp32.metrics.accuracy - best.metrics.accuracy,
        SIZE_MB: best.artifact.size_mb,
        SIZE_RATIO: best.artifact.size_mb / fp32.artifact.size_mb,
    }
    if benchmarks:
        times_ms = [benchmarks[variant].at(1, None).p50_ms for variant in (FP32, shipped)]
        figures |= {SPEEDUP: times_ms[0] / times_ms[1], LATENCY_P50_MS: times_ms[1]}
    return figures


def _ends(result: Result, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    for name in names:
        low, high = interval_of(name)
        yield low, result.intervals[name].low
        yield high, result.intervals[name].high


def _validation_figures(result: Result) -> dict[str, float]:
    return {on_validation(name): value for name, value in result.validation_metrics.scalars.items()}
