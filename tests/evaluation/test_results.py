from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.benchmark import Benchmark, Point
from pipeline.evaluation.intervals import Interval
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.results import Result, final_figures
from pipeline.models.artifact import Artifact

NONE = np.empty((0, 2))
FP32 = {
    "accuracy": 0.90,
    "loss": 0.30,
    "f1_macro": 0.89,
    "ece": 0.050,
    "accuracy_ci_low": 0.85,
    "accuracy_ci_high": 0.94,
    "f1_macro_ci_low": 0.84,
    "f1_macro_ci_high": 0.93,
    "ece_ci_low": 0.030,
    "ece_ci_high": 0.080,
    "validation_accuracy": 0.92,
    "validation_loss": 0.28,
    "validation_f1_macro": 0.91,
    "size_mb": 0.4,
}
INT8 = {
    "accuracy": 0.87,
    "loss": 0.35,
    "f1_macro": 0.86,
    "ece": 0.055,
    "accuracy_ci_low": 0.81,
    "accuracy_ci_high": 0.92,
    "f1_macro_ci_low": 0.80,
    "f1_macro_ci_high": 0.915,
    "ece_ci_low": 0.035,
    "ece_ci_high": 0.085,
    "validation_accuracy": 0.88,
    "validation_loss": 0.33,
    "validation_f1_macro": 0.865,
    "size_mb": 0.1,
}


def result(folder: Path, variant: str, figures: Mapping[str, float]) -> Result:
    """Make up a result that has these figures."""
    (folder / variant).mkdir()
    (folder / variant / "model.onnx").write_bytes(bytes(int(figures["size_mb"] * 1e6)))
    test, validation = (
        Metrics(*(figures[f"{split}{name}"] for name in ("accuracy", "loss", "f1_macro")), NONE)
        for split in ("", "validation_")
    )
    intervals = {
        name: Interval(figures[f"{name}_ci_low"], figures[f"{name}_ci_high"])
        for name in ("accuracy", "f1_macro", "ece")
    }
    artifact = Artifact(variant, folder / variant)
    return Result(artifact, NONE, test, figures["ece"], intervals, NONE, validation)


def timed(variant: str, ms: float) -> Benchmark:
    points = (Point(batch, None, ms, 2 * ms, 3 * ms, (ms,)) for batch in (1, 32))
    return Benchmark(variant, 0.1, 200.0, tuple(points))


def test_a_run_has_the_figures_of_each_variant_and_of_the_shipped_one_without_a_prefix(
    tmp_path: Path,
) -> None:
    made_up = {"fp32": FP32, "onnx_int8": INT8}
    results = {variant: result(tmp_path, variant, made_up[variant]) for variant in made_up}
    benchmarks = {"fp32": timed("fp32", 2.0), "onnx_int8": timed("onnx_int8", 0.5)}
    figures = final_figures(results, benchmarks, "onnx_int8")
    for variant, own in made_up.items():
        for name, value in own.items():
            assert figures[f"{variant}/{name}"] == pytest.approx(value), f"{variant}/{name}"
    shipped = {name: value for name, value in figures.items() if "/" not in name}
    assert shipped == pytest.approx(
        {name: value for name, value in INT8.items() if not name.startswith("ece")}
        | {"accuracy_drop": 0.03, "size_ratio": 0.25, "speedup": 4.0, "latency_p50_ms": 0.5}
    )
