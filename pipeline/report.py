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

from pipeline.data import SPLITS, Corpus
from pipeline.evaluation import Metrics
from pipeline.training import OpStatistics

matplotlib.use("Agg")
from matplotlib import pyplot as plt

EXAMPLES_PER_CLASS = 3
# Okabe and Ito's palette, told apart by colour-blind readers (jfly.uni-koeln.de/color).
COLOURS = ("#0072B2", "#E69F00", "#009E73")


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


def write_metrics(
    folder: Path, metrics: Mapping[str, Metrics], sizes_mb: Mapping[str, float], label_names: Sequence[str]
) -> None:
    """Write figures.csv, and confusion_<variant>.csv with true labels as rows and predicted labels as columns.

    Args:
        folder: an existing directory.
        metrics: by variant.
        sizes_mb: by variant.
        label_names: classes in the order of their ids.
    """
    figures_table(metrics, sizes_mb).to_csv(folder / "figures.csv", index=False)
    for variant, measured in metrics.items():
        index = pd.Index(label_names, name="true \\ predicted")
        confusion = pd.DataFrame(measured.confusion, index=index, columns=list(label_names))
        confusion.to_csv(folder / f"confusion_{variant}.csv")


def show_metrics(metrics: Mapping[str, Metrics], sizes_mb: Mapping[str, float], title: str) -> None:
    """Print the variants beside each other."""
    _show(figures_table(metrics, sizes_mb), title)


def figures_table(metrics: Mapping[str, Metrics], sizes_mb: Mapping[str, float]) -> pd.DataFrame:
    """One row a variant: model, accuracy, loss, macro F1, size (MB)."""
    rows = [
        {
            "model": variant,
            "accuracy": measured.accuracy,
            "loss": measured.loss,
            "macro F1": measured.f1_macro,
            "size (MB)": sizes_mb[variant],
        }
        for variant, measured in metrics.items()
    ]
    return pd.DataFrame(rows)


def _show(table: pd.DataFrame, title: str) -> None:
    printed = Table(title=Text(title), title_justify="left")
    for column in table.columns:
        printed.add_column(str(column), justify="right" if pd.api.types.is_numeric_dtype(table[column]) else "left")
    for row in table.itertuples(index=False):
        printed.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else Text(str(cell)) for cell in row))
    Console().print(printed)
