"""What a run's variants answered and what they cost, as tables for the terminal and files for the run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from pipeline.compression.statistics import OpStatistics
from pipeline.console.tables import rich_table
from pipeline.evaluation.benchmark import BATCHES, Benchmark, Point
from pipeline.evaluation.metrics import Result
from pipeline.reports.charts import benchmark_chart, save

DECIMALS = {"MB": 1, "p50 (ms)": 2}
PREDICTIONS_FILE = "predictions.csv"


def write_statistics(folder: Path, statistics: Sequence[OpStatistics]) -> None:
    """Print the Mixed Precision Statistics and write mixed_precision_statistics.csv; do neither if there are none.

    Args:
        folder: an existing directory.
        statistics: of the quantizing phase.
    """
    if not statistics:
        return
    columns = {
        "op_type": "Op Type",
        "total": "Total",
        "int8": "INT8",
        "bf16": "BF16",
        "fp32": "FP32",
    }
    table = pd.DataFrame([asdict(row) for row in statistics]).rename(columns=columns)
    table.to_csv(folder / "mixed_precision_statistics.csv", index=False)
    _show(table, "Mixed Precision Statistics")


def write_results(
    folder: Path,
    results: Mapping[str, Result],
    benchmarks: Mapping[str, Benchmark],
    labels: np.ndarray,
    label_names: Sequence[str],
) -> None:
    """Write what the test split and the stopwatch say of every variant.

    figures.csv; predictions.csv with the true and every variant's predicted label by test row; confusion_<variant>.csv with
    true labels as rows and predicted ones as columns; benchmark.csv and benchmark.png if anything was timed.

    Args:
        folder: an existing directory.
        results: by variant.
        benchmarks: by variant; may be empty.
        labels: (test rows,), int64.
        label_names: classes in the order of their ids.
    """
    figures_table(results, benchmarks).to_csv(folder / "figures.csv", index=False)
    names = np.array(label_names, dtype=object)
    predicted = {variant: names[result.predictions] for variant, result in results.items()}
    pd.DataFrame({"label": names[labels], **predicted}).to_csv(
        folder / PREDICTIONS_FILE, index=False
    )
    for variant, result in results.items():
        index = pd.Index(label_names, name="true \\ predicted")
        confusion = pd.DataFrame(result.metrics.confusion, index=index, columns=list(label_names))
        confusion.to_csv(folder / f"confusion_{variant}.csv")
    if benchmarks:
        table = benchmark_table(benchmarks)
        table.to_csv(folder / "benchmark.csv", index=False)
        save(benchmark_chart(table), folder / "benchmark.png")


def show_results(
    results: Mapping[str, Result], benchmarks: Mapping[str, Benchmark], title: str
) -> None:
    """Print the variants beside each other."""
    _show(figures_table(results, benchmarks), title)


def figures_table(
    results: Mapping[str, Result], benchmarks: Mapping[str, Benchmark]
) -> pd.DataFrame:
    """One row a variant: model, accuracy, loss, macro F1, MB; p50 (ms) of one text and texts/s if it was timed."""
    rows = []
    for variant, result in results.items():
        metrics = result.metrics
        row: dict[str, object] = {
            "model": variant,
            "accuracy": metrics.accuracy,
            "loss": metrics.loss,
        }
        row |= {"macro F1": metrics.f1_macro, "MB": result.artifact.size_mb}
        if variant in benchmarks:
            measured = benchmarks[variant]
            row |= {
                "p50 (ms)": measured.at(min(BATCHES), None).p50_ms,
                "texts/s": round(measured.at(max(BATCHES), None).throughput_per_s),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def benchmark_table(benchmarks: Mapping[str, Benchmark]) -> pd.DataFrame:
    """One row for each variant and shape; tokens is empty for texts of the corpus; min and max are over repetitions."""
    return pd.DataFrame(
        [
            {
                "model": variant,
                "batch": point.batch,
                "tokens": point.tokens,
                "p50_ms": point.p50_ms,
                "p50_ms_min": min(point.p50_ms_by_repetition),
                "p50_ms_max": max(point.p50_ms_by_repetition),
                "p95_ms": point.p95_ms,
                "p99_ms": point.p99_ms,
                "throughput_per_s": point.throughput_per_s,
                "load_s": measured.load_s,
                "peak_memory_mb": measured.peak_mb,
            }
            for variant, measured in benchmarks.items()
            for point in measured.points
        ]
    ).astype({"tokens": "Int64"})


def show_benchmarks(
    benchmarks: Mapping[str, Benchmark], sizes_mb: Mapping[str, float], title: str
) -> None:
    """Print what every variant costs to run, one column each; ± is half the range of the repetitions' medians."""
    single, many = min(BATCHES), max(BATCHES)
    columns: dict[str, list[str]] = {"": []}
    for variant, measured in benchmarks.items():
        own = measured.at(single, None)
        rows = {
            "MB": f"{sizes_mb[variant]:.1f}",
            "load s": f"{measured.load_s:.2f}",
            "peak MB": f"{measured.peak_mb:.0f}",
        }
        rows |= {
            "p50 own": _with_spread(own),
            "p95 own": f"{own.p95_ms:.2f}",
            "p99 own": f"{own.p99_ms:.2f}",
        }
        rows |= {
            f"p50 {tokens}": _with_spread(measured.at(single, tokens))
            for tokens in measured.lengths
            if tokens
        }
        for tokens in measured.lengths:
            rows[f"texts/s {tokens or 'own'}"] = (
                f"{measured.at(many, tokens).throughput_per_s:,.0f}"
            )
        columns[""] = list(rows)
        columns[variant] = list(rows.values())
    _show(pd.DataFrame(columns), title)
    legend = f"p50, p95, p99: ms a call of {single} text; texts/s: in batches of {many}; own: the corpus's lengths, else tokens"
    Console().print(legend, highlight=False)


def show_rerun(rows: Mapping[str, tuple[float, float]], name: str) -> None:
    """Print the figures of a run beside those of its repetition.

    Args:
        rows: by name: then and now.
        name: of the run.
    """
    lines = [
        {"figure": figure, "then": then, "now": now, "difference": now - then}
        for figure, (then, now) in rows.items()
    ]
    _show(pd.DataFrame(lines), f"{name}, repeated")


def _with_spread(point: Point) -> str:
    low, high = min(point.p50_ms_by_repetition), max(point.p50_ms_by_repetition)
    return f"{point.p50_ms:.2f} ±{(high - low) / 2 / point.p50_ms:.0%}"


def _show(table: pd.DataFrame, title: str) -> None:
    Console().print(rich_table(table, title, _cell))


def _cell(column: str, value: object) -> str:
    """A number with as many decimals as its column tells apart."""
    return f"{value:.{DECIMALS.get(column, 4)}f}" if isinstance(value, float) else str(value)
