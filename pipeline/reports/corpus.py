"""What a corpus looks like through a tokenizer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.data.corpus import SPLITS, Corpus
from pipeline.reports.charts import corpus_chart, save

EXAMPLES_PER_CLASS = 3


@dataclass(frozen=True)
class SplitDescription:
    """What one split looks like through a tokenizer.

    Args:
        rows: texts.
        class_counts: texts per class, in the order of the ids.
        tokens_median, tokens_p95, tokens_max: tokens per text before the cut.
        truncated_share: share of texts that lose tokens to the cut, 0 to 1.
        duplicates: texts that stand in the split before, equal but for case and spaces.
        shared_with_train, shared_with_validation: texts that stand in that split as well; None for the split itself.
    """

    rows: int
    class_counts: tuple[int, ...]
    tokens_median: float
    tokens_p95: float
    tokens_max: int
    truncated_share: float
    duplicates: int
    shared_with_train: int | None
    shared_with_validation: int | None


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
            f"corpus/{split}_{name}": float(value)
            for split, described in self.splits.items()
            for name, value in asdict(described).items()
            if name not in ("class_counts", "tokens_p95") and value is not None
        }


def describe(
    corpus: Corpus, tokens: Mapping[str, datasets.Dataset], max_length: int
) -> Description:
    """Count rows, classes, token lengths, cut texts, and texts that occur twice.

    Args:
        corpus: texts and labels.
        tokens: the same splits from data.tokenize.
        max_length: tokens that texts are cut at.
    """
    splits = {}
    fingerprints = {split: _fingerprints(corpus.splits[split]) for split in SPLITS}
    for split, texts in fingerprints.items():
        lengths = np.asarray(tokens[split]["num_tokens"])
        splits[split] = SplitDescription(
            rows=len(lengths),
            class_counts=tuple(
                np.bincount(
                    corpus.splits[split]["label"], minlength=len(corpus.label_names)
                ).tolist()
            ),
            tokens_median=float(np.median(lengths)),
            tokens_p95=float(np.percentile(lengths, 95)),
            tokens_max=int(lengths.max()),
            truncated_share=float((lengths > max_length).mean()),
            duplicates=len(texts) - len(np.unique(texts)),
            shared_with_train=_shared(texts, fingerprints["train"]) if split != "train" else None,
            shared_with_validation=_shared(texts, fingerprints["validation"])
            if split != "validation"
            else None,
        )
    train = corpus.splits["train"].to_pandas()
    examples = (
        train.groupby("label", sort=True)
        .head(EXAMPLES_PER_CLASS)
        .sort_values("label", kind="stable")
    )
    examples = examples.assign(label=[corpus.label_names[index] for index in examples["label"]])[
        ["label", "text"]
    ]
    return Description(corpus.label_names, splits, examples)


def _shared(texts: np.ndarray, others: np.ndarray) -> int:
    return int(np.isin(texts, others).sum())


def _fingerprints(rows: datasets.Dataset) -> np.ndarray:
    """64 bits for each text, (rows,), equal for texts that differ in case and spaces only."""
    hashed = [
        pd.util.hash_array(
            np.array([" ".join(text.casefold().split()) for text in batch["text"]], dtype=object)
        )
        for batch in rows.iter(batch_size=10_000)
    ]
    return np.concatenate(hashed)


def write_corpus(
    folder: Path,
    corpus: Corpus,
    tokens: Mapping[str, datasets.Dataset],
    description: Description,
    max_length: int,
) -> None:
    """Write corpus.csv, token_lengths.csv, examples.csv and corpus.png.

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
    table = pd.DataFrame(rows)
    table.to_csv(folder / "corpus.csv", index=False)
    lengths = pd.concat(
        [_length_counts(split, tokens[split]) for split in SPLITS], ignore_index=True
    )
    lengths.to_csv(folder / "token_lengths.csv", index=False)
    description.examples.to_csv(folder / "examples.csv", index=False)
    save(corpus_chart(table, lengths, max_length), folder / "corpus.png")


def _length_counts(split: str, rows: datasets.Dataset) -> pd.DataFrame:
    tokens, texts = np.unique(np.asarray(rows["num_tokens"]), return_counts=True)
    return pd.DataFrame({"split": split, "tokens": tokens, "texts": texts})


def show_corpus(name: str, description: Description) -> None:
    """Print the description with one column a split, and one example a class."""
    splits = list(description.splits.values())
    printed = Table(
        title=Text(f"{name}: {len(description.label_names)} classes"), title_justify="left"
    )
    printed.add_column()
    for split in description.splits:
        printed.add_column(split, justify="right")
    printed.add_row("texts", *(f"{split.rows:,}" for split in splits))
    for index, label in enumerate(description.label_names):
        counts = [(split.class_counts[index], split.rows) for split in splits]
        printed.add_row(
            Text(f"  {label}"), *(f"{count:,} ({count / rows:.1%})" for count, rows in counts)
        )
    printed.add_row("tokens, median", *(f"{split.tokens_median:,.0f}" for split in splits))
    printed.add_row("tokens, 95th percentile", *(f"{split.tokens_p95:,.0f}" for split in splits))
    printed.add_row("tokens, longest", *(f"{split.tokens_max:,}" for split in splits))
    printed.add_row("truncated", *(f"{split.truncated_share:.2%}" for split in splits))
    printed.add_row("duplicates", *(f"{split.duplicates:,}" for split in splits))
    for name in ("train", "validation"):
        shared = [getattr(split, f"shared_with_{name}") for split in splits]
        printed.add_row(
            f"also in {name}", *("" if count is None else f"{count:,}" for count in shared)
        )
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
