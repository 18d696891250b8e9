"""Tables and figures of a run: what the corpus looks like, what was quantized, what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import matplotlib
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.benchmark import BATCHES, Benchmark, Point
from pipeline.data import SPLITS, Corpus
from pipeline.evaluation import Result
from pipeline.op_statistics import OpStatistics
from pipeline.tables import rich_table

matplotlib.use("Agg")
from matplotlib import pyplot as plt

EXAMPLES_PER_CLASS = 3
# Okabe and Ito's palette, told apart by colour-blind readers (jfly.uni-koeln.de/color).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
DECIMALS = {"MB": 1, "p50 (ms)": 2}
PREDICTIONS_FILE = "predictions.csv"


@dataclass(frozen=True)
class SplitDescription:
    """What one split looks like through a tokenizer.

    Args:
        rows: texts.
        class_counts: texts per class, in the order of the ids.
        tokens_median, tokens_p95, tokens_max: tokens per text before the cut.
        truncated_share: share of texts that lose tokens to the cut, 0 to 1.
    """

    rows: int
    class_counts: tuple[int, ...]
    tokens_median: float
    tokens_p95: float
    tokens_max: int
    truncated_share: float


@dataclass(frozen=True)
class Description:
    """What a corpus looks like through a tokenizer.

    Args:
        label_names: classes in the order of their ids.
        splits: by name.
        examples: the first texts of each class in train; columns label and text.
    """

    label_names: tuple[str, ...]
    splits: Mapping[str, SplitDescription]
    examples: pd.DataFrame

    @property
    def figures(self) -> dict[str, float]:
        """Numbers for MLflow, `corpus/<split>_<name>`."""
        return {
            f"corpus/{split}_{name}": float(getattr(described, name))
            for split, described in self.splits.items()
            for name in ("rows", "tokens_median", "tokens_max", "truncated_share")
        }


def describe(corpus: Corpus, tokens: Mapping[str, datasets.Dataset], max_length: int) -> Description:
    """Count rows, classes, token lengths and cut texts.

    Args:
        corpus: texts and labels.
        tokens: the same splits from data.tokenize.
        max_length: tokens that texts are cut at.
    """
    splits = {}
    for split in SPLITS:
        lengths = np.asarray(tokens[split]["num_tokens"])
        splits[split] = SplitDescription(
            rows=len(lengths),
            class_counts=tuple(np.bincount(corpus.splits[split]["label"], minlength=len(corpus.label_names)).tolist()),
            tokens_median=float(np.median(lengths)),
            tokens_p95=float(np.percentile(lengths, 95)),
            tokens_max=int(lengths.max()),
            truncated_share=float((lengths > max_length).mean()),
        )
    train = corpus.splits["train"].to_pandas()
    examples = train.groupby("label", sort=True).head(EXAMPLES_PER_CLASS).sort_values("label", kind="stable")
    examples = examples.assign(label=[corpus.label_names[index] for index in examples["label"]])[["label", "text"]]
    return Description(corpus.label_names, splits, examples)


def write_corpus(
    folder: Path, corpus: Corpus, tokens: Mapping[str, datasets.Dataset], description: Description, max_length: int
) -> None:
    """Write corpus.csv, examples.csv and corpus.png.

    Args:
        folder: an existing directory.
        corpus: for its name.
        tokens: for the lengths.
        description: from describe().
        max_length: drawn as the line where texts are cut.
    """
    rows = []
    for split, described in description.splits.items():
        row = {"split": split, **asdict(described)}
        counts = zip(description.label_names, row.pop("class_counts"), strict=True)
        rows.append({**row, **{f"class {name}": count for name, count in counts}})
    pd.DataFrame(rows).to_csv(folder / "corpus.csv", index=False)
    description.examples.to_csv(folder / "examples.csv", index=False)

    figure, (classes, lengths) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    positions = np.arange(len(description.label_names))
    for index, (split, described) in enumerate(description.splits.items()):
        shares = 100 * np.array(described.class_counts) / described.rows
        label = f"{split} ({described.rows:,} texts)"
        classes.bar(positions + (index - 1) * 0.27, shares, 0.27, label=label, color=COLOURS[index])
    many = len(positions) > 4
    classes.set_xticks(positions, description.label_names, rotation=30 if many else 0, ha="right" if many else "center")
    classes.set(xlabel="class", ylabel="share of the split (%)", title=f"{corpus.name}: classes")
    classes.legend()
    counted = np.asarray(tokens["train"]["num_tokens"])
    lengths.hist(counted, bins=np.arange(0, counted.max() + 3, max(1, counted.max() // 60)), color=COLOURS[0])
    lengths.axvline(max_length, color="black", linestyle="--", label=f"cut at {max_length}")
    share = description.splits["train"].truncated_share
    lengths.set(xlabel="tokens per text", ylabel="texts of train", title=f"token lengths, {share:.2%} truncated")
    lengths.legend()
    figure.savefig(folder / "corpus.png", dpi=120)
    plt.close(figure)


def show_corpus(name: str, description: Description) -> None:
    """Print the description with one column a split, and one example a class."""
    splits = list(description.splits.values())
    printed = Table(title=Text(f"{name}: {len(description.label_names)} classes"), title_justify="left")
    printed.add_column()
    for split in description.splits:
        printed.add_column(split, justify="right")
    printed.add_row("texts", *(f"{split.rows:,}" for split in splits))
    for index, label in enumerate(description.label_names):
        counts = [(split.class_counts[index], split.rows) for split in splits]
        printed.add_row(Text(f"  {label}"), *(f"{count:,} ({count / rows:.1%})" for count, rows in counts))
    printed.add_row("tokens, median", *(f"{split.tokens_median:,.0f}" for split in splits))
    printed.add_row("tokens, 95th percentile", *(f"{split.tokens_p95:,.0f}" for split in splits))
    printed.add_row("tokens, longest", *(f"{split.tokens_max:,}" for split in splits))
    printed.add_row("truncated", *(f"{split.truncated_share:.2%}" for split in splits))
    console = Console()
    console.print(printed)
    widest = max(len(label) for label in description.label_names)
    examples = Table(title="one text of each class", title_justify="left")
    examples.add_column("label", no_wrap=True)
    examples.add_column("text")
    for row in description.examples.drop_duplicates("label").itertuples():
        text = Text(" ".join(str(row.text).split()))
        text.truncate(max(20, console.width - widest - 7), overflow="ellipsis")
        examples.add_row(Text(str(row.label)), text)
    console.print(examples)


def write_statistics(folder: Path, statistics: Sequence[OpStatistics]) -> None:
    """Print the Mixed Precision Statistics and write mixed_precision_statistics.csv; do neither if there are none.

    Args:
        folder: an existing directory.
        statistics: of the quantizing phase.
    """
    if not statistics:
        return
    columns = {"op_type": "Op Type", "total": "Total", "int8": "INT8", "bf16": "BF16", "fp32": "FP32"}
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
    pd.DataFrame({"label": names[labels], **predicted}).to_csv(folder / PREDICTIONS_FILE, index=False)
    for variant, result in results.items():
        index = pd.Index(label_names, name="true \\ predicted")
        confusion = pd.DataFrame(result.metrics.confusion, index=index, columns=list(label_names))
        confusion.to_csv(folder / f"confusion_{variant}.csv")
    if benchmarks:
        benchmark_table(benchmarks).to_csv(folder / "benchmark.csv", index=False)
        _plot_benchmarks(benchmarks, folder / "benchmark.png")


def show_results(results: Mapping[str, Result], benchmarks: Mapping[str, Benchmark], title: str) -> None:
    """Print the variants beside each other."""
    _show(figures_table(results, benchmarks), title)


def figures_table(results: Mapping[str, Result], benchmarks: Mapping[str, Benchmark]) -> pd.DataFrame:
    """One row a variant: model, accuracy, loss, macro F1, MB; p50 (ms) of one text and texts/s if it was timed."""
    rows = []
    for variant, result in results.items():
        metrics = result.metrics
        row: dict[str, object] = {"model": variant, "accuracy": metrics.accuracy, "loss": metrics.loss}
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


def show_benchmarks(benchmarks: Mapping[str, Benchmark], sizes_mb: Mapping[str, float], title: str) -> None:
    """Print what every variant costs to run, one column each; ± is half the range of the repetitions' medians."""
    single, many = min(BATCHES), max(BATCHES)
    columns: dict[str, list[str]] = {"": []}
    for variant, measured in benchmarks.items():
        own = measured.at(single, None)
        rows = {"MB": f"{sizes_mb[variant]:.1f}", "load s": f"{measured.load_s:.2f}", "peak MB": f"{measured.peak_mb:.0f}"}
        rows |= {"p50 own": _with_spread(own), "p95 own": f"{own.p95_ms:.2f}", "p99 own": f"{own.p99_ms:.2f}"}
        rows |= {f"p50 {tokens}": _with_spread(measured.at(single, tokens)) for tokens in measured.lengths if tokens}
        for tokens in measured.lengths:
            rows[f"texts/s {tokens or 'own'}"] = f"{measured.at(many, tokens).throughput_per_s:,.0f}"
        columns[""] = list(rows)
        columns[variant] = list(rows.values())
    _show(pd.DataFrame(columns), title)
    legend = (
        f"p50, p95, p99: ms a call of {single} text; texts/s: in batches of {many}; own: the corpus's lengths, else tokens"
    )
    Console().print(legend, highlight=False)


def show_rerun(rows: Mapping[str, tuple[float, float]], name: str) -> None:
    """Print the figures of a run beside those of its repetition.

    Args:
        rows: by name: then and now.
        name: of the run.
    """
    lines = [{"figure": figure, "then": then, "now": now, "difference": now - then} for figure, (then, now) in rows.items()]
    _show(pd.DataFrame(lines), f"{name}, repeated")


def _with_spread(point: Point) -> str:
    low, high = min(point.p50_ms_by_repetition), max(point.p50_ms_by_repetition)
    return f"{point.p50_ms:.2f} ±{(high - low) / 2 / point.p50_ms:.0%}"


def _plot_benchmarks(benchmarks: Mapping[str, Benchmark], file: Path) -> None:
    figure, (latency, throughput) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    lengths = next(iter(benchmarks.values())).lengths
    positions, width = np.arange(len(lengths)), 0.8 / len(benchmarks)
    for index, (variant, measured) in enumerate(benchmarks.items()):
        places = positions + (index - (len(benchmarks) - 1) / 2) * width
        for axes, batch in ((latency, min(BATCHES)), (throughput, max(BATCHES))):
            points = [measured.at(batch, tokens) for tokens in lengths]
            middle = np.array([point.p50_ms for point in points])
            repetitions = np.array([point.p50_ms_by_repetition for point in points])
            if axes is throughput:
                middle, repetitions = 1000 * batch / middle, 1000 * batch / repetitions
            errors = np.maximum(0, [middle - repetitions.min(1), repetitions.max(1) - middle])
            axes.bar(places, middle, width, yerr=errors, label=variant, color=COLOURS[index % len(COLOURS)], ecolor="black")
    ticks = ["the corpus's" if tokens is None else str(tokens) for tokens in lengths]
    latency.set(title="one text at a time", ylabel="p50 latency (ms, log scale)")
    throughput.set(title=f"batches of {max(BATCHES)}", ylabel="texts per second (log scale)")
    for axes in (latency, throughput):
        axes.set_xticks(positions, ticks)
        axes.set(xlabel="tokens per text", yscale="log")
    figure.legend(*latency.get_legend_handles_labels(), loc="outside lower center", ncols=len(benchmarks))
    figure.suptitle("bars: median; lines: slowest and fastest repetition")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _show(table: pd.DataFrame, title: str) -> None:
    Console().print(rich_table(table, title, _cell))


def _cell(column: str, value: object) -> str:
    """A number with as many decimals as its column tells apart."""
    return f"{value:.{DECIMALS.get(column, 4)}f}" if isinstance(value, float) else str(value)
