"""Plot the tables of a run's reports, in colours that colour-blind readers can tell apart."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.names import TRAIN
from pipeline.reports.wording import CLASS_PREFIX

matplotlib.use("Agg")
from matplotlib import pyplot as plt

matplotlib.rcParams["text.parse_math"] = False  # the names of classes may hold $

# Okabe and Ito's palette (jfly.uni-koeln.de/color).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
MARKERS = "os^Dv"
WIDE = (11, 4)  # inches
UNNAMED_SIDE = 8.0  # of a confusion matrix without names, in inches
MIN_BIN_TEXTS = 10  # fewer texts in a bin say too little about how often a model is right
MAX_NAMED_CLASSES = 30  # more of them are a picture without names and counts
MAX_LEVEL_NAMES = 4  # class names that fit side by side; more of them are turned
DARK_SHARE = 55  # percent from which a cell of a confusion matrix is too light for white digits


def save(figure: Figure, file: Path) -> None:
    """Write a figure to a file and close it.

    Args:
        figure: figure to write.
        file: file to write; its suffix names the format.
    """
    figure.savefig(file, dpi=120)
    plt.close(figure)


def corpus_chart(corpus: pd.DataFrame, lengths: pd.DataFrame, max_length: int) -> Figure:
    """Plot the classes of each split, and the token lengths of train.

    Args:
        corpus: description of each split, as in corpus.csv.
        lengths: texts of each length, as in token_lengths.csv.
        max_length: tokens that texts are cut at.
    """
    figure, (classes, counts) = plt.subplots(1, 2, figsize=WIDE, layout="constrained")
    _plot_classes(classes, corpus)
    train = lengths[lengths["split"] == TRAIN]
    longest = int(train["tokens"].max())
    counts.hist(
        train["tokens"],
        bins=np.arange(0, longest + 3, max(1, longest // 60)),
        weights=train["texts"],
        color=COLOURS[0],
    )
    counts.axvline(max_length, color="black", linestyle="--", label=f"cut at {max_length}")
    cut = train.loc[train["tokens"] > max_length, "texts"].sum() / train["texts"].sum()
    counts.set(
        xlabel="tokens per text",
        ylabel="texts of train",
        title=f"token lengths, {cut:.2%} truncated",
    )
    counts.legend()
    return figure


def confusion_chart(confusion: pd.DataFrame, variant: str) -> Figure:
    """Plot which classes a variant confuses; more than MAX_NAMED_CLASSES are numbered.

    Args:
        confusion: number of texts; true classes as rows, predicted ones as columns.
        variant: name of the variant.
    """
    names = [str(name) for name in confusion.columns]
    named = len(names) <= MAX_NAMED_CLASSES
    side = max(4.0, 0.8 * len(names) + 2) if named else UNNAMED_SIDE
    figure, axes = plt.subplots(figsize=(side + 1, side), layout="constrained")
    counts = confusion.to_numpy()
    shares = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    if named:
        _write_counts(axes, counts, shares)
        _name_classes(axes, names)
        axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted class", ylabel="true class", title=f"{variant}: test texts")
    figure.colorbar(image, label="share of the true class (%)", shrink=0.8)
    return figure


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in np.ndindex(counts.shape):
        colour = "black" if shares[row, column] > DARK_SHARE else "white"
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour)


def calibration_chart(calibration: pd.DataFrame) -> Figure:
    """Plot the calibration curve of each variant: accuracy against confidence, and bins' texts.

    Bins of fewer than MIN_BIN_TEXTS texts are left out of the curve.

    Args:
        calibration: bins of each variant, as in calibration.csv.
    """
    figure, (curve, counts) = plt.subplots(1, 2, figsize=WIDE, layout="constrained")
    curve.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfectly calibrated")
    for index, (variant, bins) in enumerate(calibration.groupby("variant", sort=False)):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        large_bins = bins[bins["texts"] >= MIN_BIN_TEXTS]
        curve.plot(
            large_bins["confidence"],
            large_bins["accuracy"],
            color=colour,
            marker=marker,
            label=str(variant),
            alpha=0.8,
        )
        counts.plot(
            (bins["low"] + bins["high"]) / 2, bins["texts"], color=colour, marker=marker, alpha=0.8
        )
    curve.set(
        xlabel="confidence (probability of the predicted class)",
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    curve.set_title("calibration")
    counts.set(xlabel="confidence", ylabel="test texts in a bin", xlim=(0, 1), ylim=(0, None))
    counts.set_title("how sure the models are")
    curve.legend()
    return figure


def length_chart(by_length: pd.DataFrame) -> Figure:
    """Plot the accuracy of each variant on short and long texts.

    Args:
        by_length: accuracy on each range of length, as in accuracy_by_length.csv.
    """
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    variants = list(by_length["variant"].unique())
    ranges = list(by_length["tokens"].unique())
    width = 0.8 / len(variants)
    for index, variant in enumerate(variants):
        accuracy = by_length.loc[by_length["variant"] == variant, "accuracy"]
        places = np.arange(len(ranges)) + (index - (len(variants) - 1) / 2) * width
        axes.bar(places, accuracy, width, label=variant, color=COLOURS[index % len(COLOURS)])
    texts = by_length.drop_duplicates("tokens")["texts"]
    axes.set_xticks(
        range(len(ranges)),
        [f"{span}\n{count:,} texts" for span, count in zip(ranges, texts, strict=True)],
    )
    axes.set(
        xlabel="tokens per text", ylabel="accuracy", ylim=(0, 1), title="accuracy by length of text"
    )
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(variants)
    )
    return figure


def layer_chart(layers: pd.DataFrame) -> Figure:
    """Plot the relative error of each module's weight and output, INT8 against FP32.

    Args:
        layers: errors of each module in the order of the model, as in layers.csv.
    """
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.26 * len(layers)), layout="constrained")
    places = np.arange(len(layers))
    axes.barh(places - 0.2, layers["output_error"], 0.4, color=COLOURS[0], label="output")
    axes.barh(places + 0.2, layers["weight_error"].fillna(0), 0.4, color=COLOURS[1], label="weight")
    names = [f"{row.module} ({row.precision})" for row in layers.itertuples()]
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.set(
        xlabel="relative error, |FP32 - INT8| / |FP32| (Euclidean norms)",
        title="quantization error by module",
    )
    axes.legend()
    return figure


def benchmark_chart(benchmark: pd.DataFrame) -> Figure:
    """Plot the latency of one text and the throughput of batches, for each variant and length.

    Args:
        benchmark: times of each variant, as in benchmark.csv.
    """
    figure, (latency, throughput) = plt.subplots(1, 2, figsize=WIDE, layout="constrained")
    variants = list(benchmark["model"].unique())
    lengths = list(
        dict.fromkeys(
            "the corpus's" if pd.isna(tokens) else str(int(tokens))
            for tokens in benchmark["tokens"]
        )
    )
    positions, width = np.arange(len(lengths)), 0.8 / len(variants)
    smallest, largest = benchmark["batch"].min(), benchmark["batch"].max()
    for index, variant in enumerate(variants):
        places = positions + (index - (len(variants) - 1) / 2) * width
        for axes, batch in ((latency, smallest), (throughput, largest)):
            rows = benchmark[(benchmark["model"] == variant) & (benchmark["batch"] == batch)]
            middle, low, high = (
                rows[name].to_numpy() for name in ("p50_ms", "p50_ms_min", "p50_ms_max")
            )
            if axes is throughput:  # the longest time is the lowest throughput
                middle, low, high = (1000 * batch / ms for ms in (middle, high, low))
            axes.bar(
                places,
                middle,
                width,
                yerr=np.maximum(0, [middle - low, high - middle]),
                label=variant,
                color=COLOURS[index % len(COLOURS)],
                ecolor="black",
            )
    latency.set(title="one text at a time", ylabel="p50 latency (ms, log scale)")
    throughput.set(title=f"batches of {largest}", ylabel="texts per second (log scale)")
    for axes in (latency, throughput):
        axes.set_xticks(positions, lengths)
        axes.set(xlabel="tokens per text", yscale="log")
    figure.legend(
        *latency.get_legend_handles_labels(), loc="outside lower center", ncols=len(variants)
    )
    figure.suptitle("bars: median; lines: slowest and fastest repetition")
    return figure


def _plot_classes(axes: Axes, corpus: pd.DataFrame) -> None:
    columns = [column for column in corpus.columns if column.startswith(CLASS_PREFIX)]
    positions = np.arange(len(columns))
    for index, row in enumerate(corpus.to_dict("records")):
        shares = [100 * row[column] / row["rows"] for column in columns]
        label = f"{row['split']} ({row['rows']:,} texts)"
        axes.bar(positions + (index - 1) * 0.27, shares, 0.27, label=label, color=COLOURS[index])
    _name_classes(axes, [column.removeprefix(CLASS_PREFIX) for column in columns])
    axes.set(xlabel="class", ylabel="share of the split (%)", title="classes")
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.28 if len(columns) > MAX_LEVEL_NAMES else -0.15),
        ncols=3,
        fontsize=8,
    )


def _name_classes(axes: Axes, names: list[str]) -> None:
    if len(names) > MAX_NAMED_CLASSES:
        return
    turned = len(names) > MAX_LEVEL_NAMES
    axes.set_xticks(
        range(len(names)), names, rotation=30 if turned else 0, ha="right" if turned else "center"
    )
