"""Describe a corpus as a tokenizer sees it, on the terminal and in files of the run."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from pipeline.console.csv_tables import write_csv
from pipeline.console.tables import shown
from pipeline.data.corpus import Corpus
from pipeline.data.same_texts import hashed
from pipeline.data.tokens import NUM_TOKENS, Tokens, integers
from pipeline.names import (
    CORPUS,
    CORPUS_CHART,
    CORPUS_TABLE,
    EXAMPLES_TABLE,
    SPLITS,
    TEST,
    TOKEN_LENGTHS_TABLE,
    TRAIN,
    VALIDATION,
    figure_of,
)
from pipeline.reports.charts import corpus_chart, save
from pipeline.reports.wording import CLASS_PREFIX

log = logging.getLogger(__name__)
EXAMPLES_PER_CLASS = 3
MUCH_TRUNCATED, MUCH_SHARED = 0.2, 0.05  # shares of a split's texts that are worth a warning
MIN_EXAMPLE_WIDTH = 20  # characters of an example that every terminal shows
UNLOGGED = ("class_counts", "tokens_p95")  # parts of a split's description that are no figures


@dataclass(frozen=True)
class SplitDescription:
    """One split as a tokenizer sees it.

    Args:
        rows: number of texts.
        class_counts: number of texts of each class, in the order of the class ids.
        tokens_median: median of the tokens per text, before texts are cut.
        tokens_p95: their 95th percentile.
        tokens_max: tokens of the longest text.
        truncated_share: share of texts that lose tokens to the cut, 0 to 1.
        duplicates: number of texts that are in the split once more, further up, equal but for case
            and spaces.
        shared_with_train: number of texts that are in train as well; None for train itself.
        shared_with_validation: number of texts that are in validation as well; None for validation
            itself.
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
    """A corpus as a tokenizer sees it.

    Args:
        label_names: classes in the order of their ids.
        splits: description of each split by its name.
        examples: the first texts of each class in train, with the columns label and text.
    """

    label_names: tuple[str, ...]
    splits: Mapping[str, SplitDescription]
    examples: pd.DataFrame

    @property
    def figures(self) -> dict[str, float]:
        """Return what MLflow logs, by name: corpus/<split>_<part of its description>."""
        return {
            figure_of(CORPUS, f"{name}_{part}"): float(value)
            for name, split in self.splits.items()
            for part, value in asdict(split).items()
            if part not in UNLOGGED and value is not None
        }


def describe(corpus: Corpus, tokens: Tokens, max_length: int) -> Description:
    """Count rows, classes, token lengths, cut texts, and texts that occur more than once.

    Args:
        corpus: texts and labels.
        tokens: tokens of the same splits.
        max_length: tokens that texts are cut at.
    """
    fingerprints = {split: _fingerprints(corpus.splits[split]) for split in SPLITS}
    splits = {}
    for split, texts in fingerprints.items():
        lengths = integers(tokens[split], NUM_TOKENS)
        labels = integers(corpus.splits[split], "label")
        shared = {
            other: None if other == split else int(np.isin(texts, fingerprints[other]).sum())
            for other in (TRAIN, VALIDATION)
        }
        splits[split] = SplitDescription(
            rows=len(lengths),
            class_counts=tuple(np.bincount(labels, minlength=len(corpus.label_names)).tolist()),
            tokens_median=float(np.median(lengths)),
            tokens_p95=float(np.percentile(lengths, 95)),
            tokens_max=int(lengths.max()),
            truncated_share=float((lengths > max_length).mean()),
            duplicates=len(texts) - len(np.unique(texts)),
            shared_with_train=shared[TRAIN],
            shared_with_validation=shared[VALIDATION],
        )
    return Description(corpus.label_names, splits, _examples(corpus))


def write_corpus(folder: Path, tokens: Tokens, description: Description, max_length: int) -> None:
    """Write corpus.csv, token_lengths.csv, examples.csv and corpus.png.

    Args:
        folder: existing directory to write to.
        tokens: tokens of each split.
        description: description of the corpus.
        max_length: tokens that texts are cut at; a line in the chart.
    """
    rows = []
    for name, split in description.splits.items():
        row = {"split": name, **asdict(split)}
        counts = zip(description.label_names, row.pop("class_counts"), strict=True)
        rows.append({**row, **{f"{CLASS_PREFIX}{label}": count for label, count in counts}})
    table = pd.DataFrame(rows)
    write_csv(table, folder / CORPUS_TABLE)
    lengths = pd.concat(
        [_length_counts(split, tokens[split]) for split in SPLITS], ignore_index=True
    )
    write_csv(lengths, folder / TOKEN_LENGTHS_TABLE)
    write_csv(description.examples, folder / EXAMPLES_TABLE)
    save(corpus_chart(table, lengths, max_length), folder / CORPUS_CHART)


def show_corpus(name: str, description: Description) -> None:
    """Print the description of a corpus, a column for each split, and an example of each class.

    Args:
        name: name of the corpus.
        description: description of the corpus.
    """
    console = Console()
    console.print(_counts_table(name, description))
    console.print(_examples_table(description, console.width))


def warn_of_corpus(name: str, description: Description, max_length: int) -> None:
    """Tell what makes figures too high, or lower than they could be.

    Args:
        name: name of the corpus.
        description: description of the corpus.
        max_length: tokens that texts are cut at.
    """
    train = description.splits[TRAIN]
    if train.truncated_share > MUCH_TRUNCATED:
        log.warning(
            "%s: %.0f %% of the texts of train are cut at dataset.max_length=%d tokens; 95 %% of "
            "them have up to %.0f",
            name,
            100 * train.truncated_share,
            max_length,
            train.tokens_p95,
        )
    for split in (VALIDATION, TEST):
        described = description.splits[split]
        if (described.shared_with_train or 0) > MUCH_SHARED * described.rows:
            log.warning(
                "%s: %d of %d texts of %s are in train as well; figures are too high where a model "
                "was trained on the texts",
                name,
                described.shared_with_train,
                described.rows,
                split,
            )


def _fingerprints(rows: datasets.Dataset) -> np.ndarray:
    return hashed(batch["text"] for batch in rows.with_format("arrow").iter(batch_size=10_000))


def _examples(corpus: Corpus) -> pd.DataFrame:
    train = corpus.splits[TRAIN]
    labels = pd.Series(integers(train, "label"))
    places = labels.groupby(labels).head(EXAMPLES_PER_CLASS).sort_values(kind="stable").index
    names = [corpus.label_names[label] for label in labels[places]]
    return pd.DataFrame({"label": names, "text": train[places.to_numpy()]["text"]})


def _length_counts(split: str, rows: datasets.Dataset) -> pd.DataFrame:
    tokens, texts = np.unique(integers(rows, NUM_TOKENS), return_counts=True)
    return pd.DataFrame({"split": split, "tokens": tokens, "texts": texts})


def _counts_table(name: str, description: Description) -> Table:
    splits = list(description.splits.values())
    table = Table(
        title=shown(f"{name}: {len(description.label_names)} classes"), title_justify="left"
    )
    table.add_column()
    for split_name in description.splits:
        table.add_column(split_name, justify="right")
    table.add_row("texts", *(f"{split.rows:,}" for split in splits))
    for index, label in enumerate(description.label_names):
        counts = [(split.class_counts[index], split.rows) for split in splits]
        table.add_row(
            shown(f"  {label}"), *(f"{count:,} ({count / rows:.1%})" for count, rows in counts)
        )
    table.add_row("tokens, median", *(f"{split.tokens_median:,.0f}" for split in splits))
    table.add_row("tokens, 95th percentile", *(f"{split.tokens_p95:,.0f}" for split in splits))
    table.add_row("tokens, longest", *(f"{split.tokens_max:,}" for split in splits))
    table.add_row("truncated", *(f"{split.truncated_share:.2%}" for split in splits))
    table.add_row("duplicates", *(f"{split.duplicates:,}" for split in splits))
    shared = {
        TRAIN: [split.shared_with_train for split in splits],
        VALIDATION: [split.shared_with_validation for split in splits],
    }
    for other, numbers in shared.items():
        texts = ("" if number is None else f"{number:,}" for number in numbers)
        table.add_row(f"also in {other}", *texts)
    return table


def _examples_table(description: Description, width: int) -> Table:
    widest_label = max(len(label) for label in description.label_names)
    table = Table(title="one text of each class", title_justify="left")
    table.add_column("label", no_wrap=True)
    table.add_column("text")
    for row in description.examples.drop_duplicates("label").itertuples():
        text = shown(" ".join(str(row.text).split()))
        text.truncate(max(MIN_EXAMPLE_WIDTH, width - widest_label - 7), overflow="ellipsis")
        table.add_row(shown(row.label), text)
    return table
