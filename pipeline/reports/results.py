"""Show what the variants of a run predict and cost, and write it to files of the run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from pipeline.compression.statistics import OpStatistics
from pipeline.console.csv_tables import write_csv
from pipeline.console.tables import rich_table, show_fitted
from pipeline.evaluation.benchmark import BATCHES, Benchmark, Point
from pipeline.evaluation.results import Result
from pipeline.names import (
    ACCURACY,
    BENCHMARK_CHART,
    BENCHMARK_TABLE,
    ECE,
    F1_MACRO,
    FIGURES_TABLE,
    INT8,
    LATENCY_P50_MS,
    LAYERS_TABLE,
    LINEAR,
    LOAD_S,
    LOSS,
    ONNX_FP32,
    PEAK_MEMORY_MB,
    PREDICTIONS_TABLE,
    SIZE_MB,
    STATISTICS_TABLE,
    THROUGHPUT_PER_S,
    VALIDATION,
    confusion_table,
)
from pipeline.reports.charts import benchmark_chart, save
from pipeline.reports.wording import (
    HEADINGS,
    TEXTS_PER_S,
    column_decimals,
    interval_heading,
    interval_text,
)

# Of the variants' figures, left out in this order on a narrow terminal.
SPARE_COLUMNS = (
    interval_heading(ECE),
    HEADINGS[ECE],
    interval_heading(F1_MACRO),
    HEADINGS[F1_MACRO],
    LOSS,
    TEXTS_PER_S,
)
# What a run's description in MLflow has of them.
DESCRIBED_COLUMNS = (
    "model",
    VALIDATION,
    ACCURACY,
    interval_heading(ACCURACY),
    HEADINGS[SIZE_MB],
    HEADINGS[LATENCY_P50_MS],
)
# Of the benchmarks' columns, left out in this order on a narrow terminal.
SPARE_VARIANTS = (ONNX_FP32, INT8, LINEAR)
# As Neural Compressor heads them.
STATISTICS_HEADINGS = {
    "op_type": "Op Type",
    "total": "Total",
    "int8": "INT8",
    "bf16": "BF16",
    "fp32": "FP32",
}


def write_statistics(folder: Path, statistics: Sequence[OpStatistics]) -> None:
    """Print the Mixed Precision Statistics, and write mixed_precision_statistics.csv.

    Args:
        folder: existing directory to write to.
        statistics: statistics of the quantized model; of an empty list nothing is printed or
            written.
    """
    if not statistics:
        return
    table = pd.DataFrame([asdict(row) for row in statistics]).rename(columns=STATISTICS_HEADINGS)
    write_csv(table, folder / STATISTICS_TABLE)
    _show(table, "Mixed Precision Statistics")


def write_layers(folder: Path, layers: pd.DataFrame) -> None:
    """Write layers.csv.

    Args:
        folder: existing directory to write to.
        layers: errors of each module, as layer_errors() returns them.
    """
    write_csv(layers, folder / LAYERS_TABLE)


def write_results(
    folder: Path,
    results: Mapping[str, Result],
    benchmarks: Mapping[str, Benchmark],
    labels: np.ndarray,
    label_names: Sequence[str],
) -> None:
    """Write the figures, predictions and times of every variant.

    figures.csv has a row for each variant. predictions.csv has a row for each text of the test
    split, with its true label and the one that each variant predicts. confusion_<variant>.csv
    counts texts, true labels as rows and predicted ones as columns. benchmark.csv and benchmark.png
    are written if anything was timed.

    Args:
        folder: existing directory to write to.
        results: result of each variant by its name.
        benchmarks: times of each variant by its name; empty if nothing was timed.
        labels: true label ids, (rows,), int64.
        label_names: classes in the order of their ids.
    """
    write_csv(figures_table(results, benchmarks), folder / FIGURES_TABLE)
    names = np.array(label_names, dtype=object)
    predicted = {variant: names[result.predictions] for variant, result in results.items()}
    predictions = pd.DataFrame({"label": names[labels], **predicted})
    write_csv(predictions, folder / PREDICTIONS_TABLE)
    for variant, result in results.items():
        index = pd.Index(label_names, name="true \\ predicted")
        confusion = pd.DataFrame(result.metrics.confusion, index=index, columns=list(label_names))
        write_csv(confusion, folder / confusion_table(variant), index=True)
    if benchmarks:
        table = benchmark_table(benchmarks)
        write_csv(table, folder / BENCHMARK_TABLE)
        save(benchmark_chart(table), folder / BENCHMARK_CHART)


def show_results(
    results: Mapping[str, Result], benchmarks: Mapping[str, Benchmark], title: str
) -> None:
    """Print the figures of every variant, one below the other.

    Args:
        results: result of each variant by its name.
        benchmarks: times of each variant by its name; empty if nothing was timed.
        title: heading of the table.
    """
    show_fitted(figures_table(results, benchmarks), title, _text, spare=SPARE_COLUMNS)


def figures_table(
    results: Mapping[str, Result], benchmarks: Mapping[str, Benchmark]
) -> pd.DataFrame:
    """Lay the figures of every variant out as a table.

    Args:
        results: result of each variant by its name.
        benchmarks: times of each variant by its name; empty if nothing was timed.

    Returns:
        A row for each variant: model (its name), its accuracy on the validation split, which
        chose; accuracy, loss, macro F1 and calibration error on the test split, with their 95 %
        confidence intervals; and MB; of a timed one also p50 (ms), the median latency of one text,
        and texts/s in the largest batches.
    """
    rows = []
    for variant, result in results.items():
        row: dict[str, object] = {
            "model": variant,
            VALIDATION: result.validation_metrics.accuracy,
            ACCURACY: result.metrics.accuracy,
            interval_heading(ACCURACY): interval_text(result.intervals[ACCURACY]),
            LOSS: result.metrics.loss,
            HEADINGS[F1_MACRO]: result.metrics.f1_macro,
            interval_heading(F1_MACRO): interval_text(result.intervals[F1_MACRO]),
            HEADINGS[ECE]: result.ece,
            interval_heading(ECE): interval_text(result.intervals[ECE]),
            HEADINGS[SIZE_MB]: result.artifact.size_mb,
        }
        if variant in benchmarks:
            timed = benchmarks[variant]
            row[HEADINGS[LATENCY_P50_MS]] = timed.at(min(BATCHES), None).p50_ms
            row[TEXTS_PER_S] = round(timed.at(max(BATCHES), None).throughput_per_s)
        rows.append(row)
    return pd.DataFrame(rows)


def markdown_table(
    results: Mapping[str, Result], benchmarks: Mapping[str, Benchmark], shipped: str
) -> str:
    """Write the figures that decide about a variant, for the run's description in MLflow.

    Args:
        results: result of each variant by its name.
        benchmarks: times of each variant by its name; empty if nothing was timed.
        shipped: name of the variant that is shipped.

    Returns:
        A table in Markdown: the shipped variant in bold.
    """
    table = figures_table(results, benchmarks)
    columns = [column for column in DESCRIBED_COLUMNS if column in table]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in table[columns].to_dict("records"):
        cells = ["" if pd.isna(cell) else _text(str(name), cell) for name, cell in row.items()]
        mark = "**" if row["model"] == shipped else ""
        lines.append(f"| {' | '.join(f'{mark}{cell}{mark}' if cell else '' for cell in cells)} |")
    return "\n".join(lines)


def benchmark_table(benchmarks: Mapping[str, Benchmark]) -> pd.DataFrame:
    """Lay the times of every variant out as a table.

    Args:
        benchmarks: times of each variant by its name.

    Returns:
        A row for each variant and shape: model (the variant), batch (texts a call), tokens (of a
        text; empty for the corpus's own texts), p50_ms, its smallest and largest value over the
        repetitions (p50_ms_min, p50_ms_max), p95_ms, p99_ms, throughput_per_s, load_s and
        peak_memory_mb.
    """
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
                THROUGHPUT_PER_S: point.throughput_per_s,
                LOAD_S: timed.load_s,
                PEAK_MEMORY_MB: timed.peak_mb,
            }
            for variant, timed in benchmarks.items()
            for point in timed.points
        ]
    ).astype({"tokens": "Int64"})


def show_benchmarks(
    benchmarks: Mapping[str, Benchmark], sizes_mb: Mapping[str, float], title: str
) -> None:
    """Print what every variant costs to run, a column for each.

    The ± after a median is half the range of the repetitions' medians.

    Args:
        benchmarks: times of each variant by its name.
        sizes_mb: size of each variant by its name, in MB of 1,000,000 bytes.
        title: heading of the table.
    """
    columns: dict[str, list[str]] = {"": []}
    for variant, timed in benchmarks.items():
        costs = {"MB": f"{sizes_mb[variant]:.1f}", **_costs(timed)}
        columns[""] = list(costs)
        columns[variant] = list(costs.values())
    show_fitted(pd.DataFrame(columns), title, _text, spare=SPARE_VARIANTS)
    legend = (
        f"p50, p95, p99: ms a call of {min(BATCHES)} text; texts/s: in batches of {max(BATCHES)}; "
        "own: the corpus's lengths, else tokens"
    )
    Console().print(legend, highlight=False)


def show_rerun(rows: Mapping[str, tuple[float, float]], name: str) -> None:
    """Print the figures of a run beside those of its repetition.

    Args:
        rows: value in the run and in its repetition, by the figure's name.
        name: name of the run.
    """
    lines = [
        {"figure": figure, "then": then, "now": now, "difference": now - then}
        for figure, (then, now) in rows.items()
    ]
    _show(pd.DataFrame(lines), f"{name}, repeated")


def _costs(timed: Benchmark) -> dict[str, str]:
    single, many = min(BATCHES), max(BATCHES)
    corpus_point = timed.at(single, None)
    costs = {
        "load s": f"{timed.load_s:.2f}",
        "peak MB": f"{timed.peak_mb:.0f}",
        "p50 own": _with_spread(corpus_point),
        "p95 own": f"{corpus_point.p95_ms:.2f}",
        "p99 own": f"{corpus_point.p99_ms:.2f}",
    }
    for tokens in timed.lengths:
        if tokens:
            costs[f"p50 {tokens}"] = _with_spread(timed.at(single, tokens))
    for tokens in timed.lengths:
        throughput = timed.at(many, tokens).throughput_per_s
        costs[f"texts/s {tokens or 'own'}"] = f"{throughput:,.0f}"
    return costs


def _with_spread(point: Point) -> str:
    low, high = min(point.p50_ms_by_repetition), max(point.p50_ms_by_repetition)
    return f"{point.p50_ms:.2f} ±{(high - low) / 2 / point.p50_ms:.0%}"


def _show(table: pd.DataFrame, title: str) -> None:
    Console().print(rich_table(table, title, _text))


def _text(column: str, value: object) -> str:
    return f"{value:.{column_decimals(column)}f}" if isinstance(value, float) else str(value)
