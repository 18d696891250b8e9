"""Tables of a run's reports to pictures: axes with titles and units, colours that colour-blind readers tell apart."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Okabe and Ito's palette (jfly.uni-koeln.de/color).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
WIDE = (11, 4)
FEW = 10  # texts of a bin that say too little about how often a model is right
MANY = 4  # class names side by side that need not be turned


def save(figure: Figure, file: Path) -> None:
    """Write a figure in the format of the file's name, and forget it."""
    figure.savefig(file, dpi=120)
    plt.close(figure)


def corpus_chart(corpus: pd.DataFrame, lengths: pd.DataFrame, max_length: int) -> Figure:
    """Draw the classes of each split, and token lengths of train.

    Args:
        corpus: a row a split, as in corpus.csv.
        lengths: split, tokens, texts.
        max_length: where texts are cut.
    """
    figure, (classes, counts) = plt.subplots(1, 2, figsize=WIDE, layout="constrained")
    columns = [column for column in corpus.columns if column.startswith("class ")]
    positions = np.arange(len(columns))
    for index, row in enumerate(corpus.to_dict("records")):
        shares = [100 * row[column] / row["rows"] for column in columns]
        label = f"{row['split']} ({row['rows']:,} texts)"
        classes.bar(positions + (index - 1) * 0.27, shares, 0.27, label=label, color=COLOURS[index])
    _name_classes(classes, [column.removeprefix("class ") for column in columns])
    classes.set(xlabel="class", ylabel="share of the split (%)", title="classes")
    classes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.28 if len(columns) > MANY else -0.15),
        ncols=3,
        fontsize=8,
    )
    train = lengths[lengths["split"] == "train"]
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
    """Draw how often each true class was taken for which.

    Args:
        confusion: counts; true classes as rows, predicted ones as columns.
        variant: whose.
    """
    names = [str(name) for name in confusion.columns]
    side = max(4.0, 0.8 * len(names) + 2)
    figure, axes = plt.subplots(figsize=(side + 1, side), layout="constrained")
    counts = confusion.to_numpy()
    shares = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    for row in range(len(names)):
        for column in range(len(names)):
            colour = "black" if shares[row, column] > 55 else "white"
            axes.text(
                column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour
            )
    _name_classes(axes, names)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted class", ylabel="true class", title=f"{variant}: test texts")
    figure.colorbar(image, label="share of the true class (%)", shrink=0.8)
    return figure


def calibration_chart(calibration: pd.DataFrame) -> Figure:
    """Draw how often a model is right when it is how sure, for each variant, and how many texts that are.

    Bins of fewer than FEW texts are left out of the curve.

    Args:
        calibration: variant, confidence, accuracy, texts; a row a bin.
    """
    figure, (curve, counts) = plt.subplots(1, 2, figsize=WIDE, layout="constrained")
    curve.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfectly calibrated")
    for index, (variant, bins) in enumerate(calibration.groupby("variant", sort=False)):
        colour, marker = COLOURS[index % len(COLOURS)], "os^Dv"[index % 5]
        told = bins[bins["texts"] >= FEW]
        curve.plot(
            told["confidence"],
            told["accuracy"],
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
    """Draw the accuracy of each variant on short and long texts.

    Args:
        by_length: variant, tokens (a range), texts, accuracy.
    """
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    variants = list(by_length["variant"].unique())
    ranges = list(by_length["tokens"].unique())
    width = 0.8 / len(variants)
    for index, variant in enumerate(variants):
        own = by_length[by_length["variant"] == variant]
        places = np.arange(len(ranges)) + (index - (len(variants) - 1) / 2) * width
        axes.bar(places, own["accuracy"], width, label=variant, color=COLOURS[index % len(COLOURS)])
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
    """Draw the relative error of each module's weight and output, FP32 against INT8.

    Args:
        layers: module, precision, weight_error, output_error, in the order of the model.
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
    """Draw the latency of one text and throughput of batches, for each variant and length.

    Args:
        benchmark: as in benchmark.csv.
    """
    figure, (latency, throughput) = plt.subplots(1, 2, figsize=WIDE, layout="constrained")
    variants = list(benchmark["model"].unique())
    lengths = list(
        dict.fromkeys(
            "own" if pd.isna(tokens) else str(int(tokens)) for tokens in benchmark["tokens"]
        )
    )
    positions, width = np.arange(len(lengths)), 0.8 / len(variants)
    batches = sorted(benchmark["batch"].unique())
    for index, variant in enumerate(variants):
        places = positions + (index - (len(variants) - 1) / 2) * width
        for axes, batch in ((latency, batches[0]), (throughput, batches[-1])):
            own = benchmark[(benchmark["model"] == variant) & (benchmark["batch"] == batch)]
            middle, fast, slow = (
                own[name].to_numpy() for name in ("p50_ms", "p50_ms_min", "p50_ms_max")
            )
            if axes is throughput:
                middle, fast, slow = (1000 * batch / ms for ms in (middle, slow, fast))
            errors = np.maximum(0, [middle - fast, slow - middle])
            axes.bar(
                places,
                middle,
                width,
                yerr=errors,
                label=variant,
                color=COLOURS[index % len(COLOURS)],
                ecolor="black",
            )
    ticks = ["the corpus's" if length == "own" else length for length in lengths]
    latency.set(title="one text at a time", ylabel="p50 latency (ms, log scale)")
    throughput.set(title=f"batches of {batches[-1]}", ylabel="texts per second (log scale)")
    for axes in (latency, throughput):
        axes.set_xticks(positions, ticks)
        axes.set(xlabel="tokens per text", yscale="log")
    figure.legend(
        *latency.get_legend_handles_labels(), loc="outside lower center", ncols=len(variants)
    )
    figure.suptitle("bars: median; lines: slowest and fastest repetition")
    return figure


def _name_classes(axes: Axes, names: list[str]) -> None:
    many = len(names) > MANY
    axes.set_xticks(
        range(len(names)), names, rotation=30 if many else 0, ha="right" if many else "center"
    )
