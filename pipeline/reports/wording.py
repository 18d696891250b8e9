"""Word figures for people: headings of columns, titles of axes, values with fitting decimals."""

from math import isnan
from typing import TYPE_CHECKING

from pipeline.comparison.comparison import PARETO
from pipeline.comparison.rows import FIGURES, TRAINING_S
from pipeline.names import (
    ACCURACY,
    ACCURACY_DROP,
    DEFAULT_OBJECTIVE,
    ECE,
    F1_MACRO,
    LATENCY_P50_MS,
    LOAD_S,
    LOSS,
    PEAK_MEMORY_MB,
    SIZE_MB,
    SPEEDUP,
    THROUGHPUT_PER_S,
    interval_of,
)

if TYPE_CHECKING:
    from pipeline.evaluation.intervals import Interval

DEFAULT_DECIMALS = 4
SIGNIFICANT_DIGITS = 4  # of figures and parameters that a comparison does not always show

# Figures and parameters of a comparison, by their names without prefix.
HEADINGS = {
    PARETO: " ",
    ACCURACY_DROP: "drop",
    F1_MACRO: "macro F1",
    ECE: "calibration error",
    **dict(zip(interval_of(ACCURACY), ("95 % from", "to"), strict=True)),
    **dict(zip(interval_of(F1_MACRO), ("95 % from", "to"), strict=True)),
    SIZE_MB: "MB",
    LATENCY_P50_MS: "p50 (ms)",
    TRAINING_S: "train (s)",
    "learning_rate": "lr",
}
AXIS_TITLES = {
    DEFAULT_OBJECTIVE: "validation accuracy",
    ACCURACY: "test accuracy",
    LATENCY_P50_MS: "p50 latency of one text (ms)",
    SIZE_MB: "size (MB)",
    LOSS: "test loss (nats)",
    F1_MACRO: "macro F1",
    SPEEDUP: "speed-up over FP32 in PyTorch",
    THROUGHPUT_PER_S: "texts a second",
}
DECIMALS = {
    **dict.fromkeys((*interval_of(ACCURACY), *interval_of(F1_MACRO)), 3),
    SIZE_MB: 1,
    LATENCY_P50_MS: 2,
    SPEEDUP: 1,
    TRAINING_S: 0,
}

# Columns of a run's tables. The fastest and the slowest are repetitions.
CLASS_PREFIX = "class "  # of the columns in corpus.csv that count the texts of a class
TEXTS_PER_S = "texts/s"
BENCHMARK_HEADINGS = {
    "p50_ms": "p50 (ms)",
    "p50_ms_min": "fastest",
    "p50_ms_max": "slowest",
    "p95_ms": "p95 (ms)",
    "p99_ms": "p99 (ms)",
    THROUGHPUT_PER_S: TEXTS_PER_S,
    LOAD_S: "load (s)",
    PEAK_MEMORY_MB: "peak (MB)",
}
COLUMN_DECIMALS = {
    "MB": 1,
    "p50 (ms)": 2,
    "fastest": 2,
    "slowest": 2,
    "p95 (ms)": 2,
    "p99 (ms)": 2,
    TEXTS_PER_S: 0,
    "load (s)": 2,
    "peak (MB)": 0,
}


def interval_heading(figure: str) -> str:
    """Head the column with the 95 % confidence interval of a figure, such as accuracy."""
    return f"{HEADINGS.get(figure, figure)} 95 %"


def interval_text(interval: "Interval") -> str:
    """Write an interval of a share: 0.785-0.827."""
    return f"{interval.low:.3f}-{interval.high:.3f}"


def heading(name: str) -> str:
    """Shorten the name of a figure or parameter to the heading of a column.

    Args:
        name: name as logged: trainer.learning_rate becomes lr, onnx_int8/size_mb onnx_int8/MB.
    """
    variant, slash, figure = name.removeprefix("trainer.").rpartition("/")
    return f"{variant}{slash}{HEADINGS.get(figure, figure)}"


def axis_title(name: str) -> str:
    """Write the name of a figure out, with its unit.

    Args:
        name: name as logged: onnx_int8/size_mb becomes "size (MB), onnx_int8".
    """
    variant, _, figure = name.rpartition("/")
    title = AXIS_TITLES.get(figure, figure)
    return f"{title}, {variant}" if variant else title


def cell(name: str, value: object) -> str:
    """Write a value of a comparison with as many decimals as tell runs apart.

    Args:
        name: name of the figure or parameter as logged.
        value: number or text; NaN becomes an empty text.
    """
    if not isinstance(value, float):
        return str(value)
    if isnan(value):
        return ""
    figure = name.rpartition("/")[2]
    if figure in FIGURES:
        return f"{value:.{DECIMALS.get(figure, DEFAULT_DECIMALS)}f}"
    return f"{value:.{SIGNIFICANT_DIGITS}g}"


def column_decimals(column: str) -> int:
    """Return how many decimals tell the values of a column of a run's tables apart.

    Args:
        column: heading of the column.
    """
    return COLUMN_DECIMALS.get(column, DEFAULT_DECIMALS)
