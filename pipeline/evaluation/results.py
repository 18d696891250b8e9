"""Hold what a stored artifact answers, and name its figures."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.benchmark import Benchmark
from pipeline.evaluation.calibration import expected_calibration_error
from pipeline.evaluation.metrics import Metrics
from pipeline.models.artifact import Artifact
from pipeline.names import (
    ACCURACY_DROP,
    ECE,
    FP32,
    SIZE_MB,
    SIZE_RATIO,
    SPEEDUP,
    figure_of,
    on_validation,
)


@dataclass(frozen=True)
class Result:
    """A stored artifact and its answers.

    Args:
        artifact: directory that was loaded.
        logits: answers to the test split, (rows, num_labels), float32, in the order of the split.
        metrics: figures of these logits.
        validation_logits: the same for the validation split, by which a run decides.
        validation_metrics: figures of those.
    """

    artifact: Artifact
    logits: np.ndarray
    metrics: Metrics
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


def final_figures(
    results: Mapping[str, Result],
    benchmarks: Mapping[str, Benchmark],
    shipped: str,
    labels: np.ndarray,
) -> dict[str, float]:
    """Name the figures of every variant with its prefix, and those of the shipped one without.

    Args:
        results: result of each variant; fp32 is among them.
        benchmarks: benchmark of each variant; may be empty.
        shipped: variant that is shipped.
        labels: true label ids, (test rows,) int64.
    """
    figures: dict[str, float] = {}
    for variant, result in results.items():
        scalars = {
            **result.metrics.scalars,
            SIZE_MB: result.artifact.size_mb,
            ECE: expected_calibration_error(result.logits, labels),
        }
        scalars |= _validation_figures(result)
        figures |= {figure_of(variant, name): value for name, value in scalars.items()}
    for benchmark in benchmarks.values():
        figures |= benchmark.figures
    fp32, best = results[FP32], results[shipped]
    figures |= {
        **best.metrics.scalars,
        **_validation_figures(best),
        ACCURACY_DROP: fp32.metrics.accuracy - best.metrics.accuracy,
        SIZE_RATIO: best.artifact.size_mb / fp32.artifact.size_mb,
    }
    if benchmarks:
        times_ms = [benchmarks[variant].at(1, None).p50_ms for variant in (FP32, shipped)]
        figures[SPEEDUP] = times_ms[0] / times_ms[1]
    return figures


def _validation_figures(result: Result) -> dict[str, float]:
    return {on_validation(name): value for name, value in result.validation_metrics.scalars.items()}
