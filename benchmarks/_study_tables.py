"""Write the tables of the study, and draw its front, from the runs that it has."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from math import sqrt
from pathlib import Path

from mlflow.entities import Run
from scipy.stats import t as student

from pipeline.names import (
    ACCURACY,
    ACCURACY_DROP,
    FP32,
    INT8,
    LATENCY_P50_MS,
    LINEAR,
    OPENVINO_INT8,
    SHIPPED_TAG,
    SIZE_MB,
    TEACHER,
    TOTAL_TIME,
    at_length,
    figure_of,
)

FRONT_PICTURE = Path("docs/front.png")
COLUMNS = (
    "linear",
    "teacher",
    "FP32",
    "INT8, PyTorch",
    "OpenVINO",
    "shipped",
    "FP32 - shipped",
    "INT8, PyTorch: more than post-training",
    "OpenVINO: more",
    "shipped: more",
    "MB",
    "p50 ms",
    "teacher's p50, 32 tokens",
    "teacher's MB",
    "run s",
)
SEED = "trainer.seed"
TOKENS = 32  # of the texts that a teacher and what it taught are timed on


def table(
    corpus: str, lines: Mapping[str, Sequence[Run]], against: Mapping[str, str]
) -> Iterator[str]:
    """Write the table of a part, without the columns that none of its lines has.

    Args:
        corpus: name of the corpus.
        lines: finished runs of each line.
        against: of a line, the label of the one that it is compared with.

    Yields:
        Its lines, in Markdown.
    """
    rows = {
        label: cells(runs, lines[against[label]] if label in against else [])
        for label, runs in lines.items()
    }
    used = [any(texts) for texts in zip(*rows.values(), strict=True)]
    yield row([corpus, *compress(COLUMNS, used)])
    yield row(["---"] * (sum(used) + 1))
    yield from (row([label, *compress(texts, used)]) for label, texts in rows.items())


def cells(runs: Sequence[Run], others: Sequence[Run]) -> list[str]:
    """Write the figures of a line.

    Args:
        runs: its runs.
        others: those that they are compared with.
    """
    shipped = runs[0].data.tags.get(SHIPPED_TAG, FP32) if runs else FP32
    accuracies = [figure_of(each, ACCURACY) for each in (INT8, OPENVINO_INT8)]
    return [
        mean(values_of(runs, figure_of(LINEAR, ACCURACY)), 4),
        mean(values_of(runs, figure_of(TEACHER, ACCURACY)), 4),
        mean(values_of(runs, figure_of(FP32, ACCURACY)), 4),
        *(mean(values_of(runs, each), 4) for each in (*accuracies, ACCURACY, ACCURACY_DROP)),
        *(mean(differences(runs, others, each), 4) for each in (*accuracies, ACCURACY)),
        mean(values_of(runs, figure_of(shipped, SIZE_MB)), 1),
        mean(values_of(runs, figure_of(shipped, LATENCY_P50_MS)), 2),
        times_of(runs, at_length(LATENCY_P50_MS, TOKENS), shipped),
        times_of(runs, SIZE_MB, shipped),
        mean(values_of(runs, TOTAL_TIME), 0),
    ]


def row(texts: Sequence[str]) -> str:
    """Write a row of a table in Markdown."""
    return f"| {' | '.join(texts)} |"


def values_of(runs: Sequence[Run], figure: str) -> list[float]:
    """Return a figure of those runs that have it, by its name in MLflow."""
    return [run.data.metrics[figure] for run in runs if figure in run.data.metrics]


def differences(runs: Sequence[Run], others: Sequence[Run], figure: str) -> list[float]:
    """Return by how much a figure is larger than that of the other run with the same seed.

    Args:
        runs: runs.
        others: those that they are compared with.
        figure: name of the figure in MLflow.
    """
    of_others = {run.data.params[SEED]: run.data.metrics.get(figure) for run in others}
    pairs = ((run.data.metrics.get(figure), of_others.get(run.data.params[SEED])) for run in runs)
    return [own - other for own, other in pairs if own is not None and other is not None]


def times_of(runs: Sequence[Run], figure: str, shipped: str) -> str:
    """Say how many times that of the shipped file a figure of the teacher is, in PyTorch FP32.

    Args:
        runs: runs that were timed beside their teacher.
        figure: name of the figure, without a variant.
        shipped: the shipped variant.
    """
    teacher, own = (values_of(runs, figure_of(each, figure)) for each in (TEACHER, shipped))
    if len(teacher) != len(own) or not teacher:
        return ""
    ratios = [large / small for large, small in zip(teacher, own, strict=True)]
    return f"{mean(ratios, 1)} times"


def mean(values: Sequence[float], digits: int) -> str:
    """Write the mean of a figure over runs, with its 95 % interval where it differs.

    Args:
        values: the figure of each run.
        digits: digits after the point.
    """
    if not values:
        return ""
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1 or max(values) == min(values) or not digits:
        return text
    reach = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / sqrt(len(values))
    return f"{text} ± {reach:.{digits}f}"


def draw_front(corpus: str, lines: Mapping[str, Sequence[Run]]) -> None:
    """Draw accuracy against latency, a point for each run, and for its teacher in PyTorch FP32.

    Args:
        corpus: name of the corpus.
        lines: finished runs of each number of layers.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")

    def scatter(runs: Sequence[Run], variant: str, label: str) -> None:
        latencies = values_of(runs, figure_of(variant, LATENCY_P50_MS))
        axes.scatter(latencies, values_of(runs, figure_of(variant, ACCURACY)), label=label)

    for label, runs in lines.items():
        if runs:
            shipped = runs[0].data.tags[SHIPPED_TAG]
            scatter(runs, shipped, f"{label}, {shipped}")
    scatter([run for runs in lines.values() for run in runs], TEACHER, "teacher, PyTorch FP32")
    axes.set(xlabel="p50 of one text, ms", ylabel="test accuracy", title=corpus, xscale="log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend()
    figure.savefig(FRONT_PICTURE.with_stem(f"{FRONT_PICTURE.stem}_{corpus}"), dpi=120)
    plt.close(figure)
