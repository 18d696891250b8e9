"""Write the card of a model: what it is for, what it was made of, and what it is worth.

The sections are those of a model card (Mitchell et al., arXiv:1810.03993) that a run can fill.
"""

from collections.abc import Iterator, Mapping, Sequence

from mlflow.entities import Run

from pipeline.config.schema import Config
from pipeline.console.markdown import escaped
from pipeline.errors import redacted
from pipeline.names import (
    ACCURACY,
    BASELINE_TAG,
    CORPUS,
    CPU_TAG,
    DATASET_COMMIT_TAG,
    DEFAULT_OBJECTIVE,
    F1_MACRO,
    FP32,
    GIT_COMMIT_TAG,
    LATENCY_P50_MS,
    LINEAR,
    MODEL_COMMIT_TAG,
    SHIPPED_TAG,
    SIZE_MB,
    SPLITS,
    figure_of,
    interval_of,
)
from pipeline.tracking.lookup import digests_of
from pipeline.tracking.run_names import description

SHOWN_LABELS = 30


def model_card(run: Run, config: Config, label_names: Sequence[str], reasons: str) -> str:
    """Write the card of a run's shipped model.

    Args:
        run: the run.
        config: its config.
        label_names: labels that the model answers with.
        reasons: what the gate said.

    Returns:
        Markdown.
    """
    return "\n".join(_lines(run, config, label_names, reasons))


def _lines(run: Run, config: Config, label_names: Sequence[str], reasons: str) -> Iterator[str]:
    tags, dataset = run.data.tags, config.dataset
    shown = ", ".join(map(escaped, label_names[:SHOWN_LABELS]))
    more = f" and {len(label_names) - SHOWN_LABELS} more" if len(label_names) > SHOWN_LABELS else ""
    yield f"# {escaped(run.info.run_name)}"
    yield ""
    yield f"{description(config)} The file is `{tags[SHIPPED_TAG]}`."
    yield ""
    yield "## Use"
    yield ""
    kind = "a text" if dataset.text_pair_column is None else "a pair of texts"
    yield f"It puts {kind} like those of `{dataset.name}` into one of {len(label_names)} classes:"
    yield f"{shown}{more}."
    yield f"Texts are cut at {dataset.max_length} tokens."
    yield "It answers with one of these classes whatever the text is."
    yield "On other kinds of texts, other languages or later times, its accuracy is not known."
    yield ""
    yield "## Data"
    yield ""
    yield from _data(run, config)
    yield ""
    yield "## Figures"
    yield ""
    yield from _figures(run.data.metrics, tags)
    yield ""
    yield f"Times: threads {config.benchmark.threads}, {tags.get(CPU_TAG, 'an unknown CPU')}."
    yield ""
    yield "## How it was chosen"
    yield ""
    yield f"Validation chose, test reports. The gate: {escaped(reasons)}."
    linear = escaped(tags.get(BASELINE_TAG, "there was none"))
    yield f"The linear model on the same texts: {linear}."
    yield ""
    yield "## Origin"
    yield ""
    yield f"- run `{run.info.run_id}`, code `{tags.get(GIT_COMMIT_TAG, 'unknown')}`"
    pretrained = f"`{redacted(config.model.name_or_path)}`{_commit(tags, MODEL_COMMIT_TAG)}"
    yield f"- pretrained model {pretrained}; its licence is that of its publisher"


def _data(run: Run, config: Config) -> Iterator[str]:
    dataset, digests = config.dataset, digests_of(run)
    source = dataset.data_dir or dataset.train_file or dataset.path or dataset.name
    yield f"`{redacted(str(source))}`{_commit(run.data.tags, DATASET_COMMIT_TAG)}; its licence is "
    yield "not known to the run."
    yield ""
    yield "| split | texts | digest |"
    yield "|---|---|---|"
    for split in SPLITS:
        rows = run.data.metrics.get(figure_of(CORPUS, f"{split}_rows"))
        yield f"| {split} | {'' if rows is None else f'{rows:,.0f}'} | `{digests.get(split, '')}` |"


def _figures(metrics: Mapping[str, float], tags: Mapping[str, str]) -> Iterator[str]:
    yield "| | validation accuracy | test accuracy | 95 % | macro F1 | MB | p50 of one text, ms |"
    yield "|---|---|---|---|---|---|---|"
    for label, variant in (
        (f"this file, `{tags[SHIPPED_TAG]}`", tags[SHIPPED_TAG]),
        ("FP32, PyTorch", FP32),
        ("linear model", LINEAR),
    ):
        if figure_of(variant, ACCURACY) not in metrics:
            continue
        low, high = (metrics.get(figure_of(variant, end)) for end in interval_of(ACCURACY))
        interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
        texts = [
            _number(metrics.get(figure_of(variant, name)), digits)
            for name, digits in (
                (DEFAULT_OBJECTIVE, 4),
                (ACCURACY, 4),
                (F1_MACRO, 4),
                (SIZE_MB, 1),
                (LATENCY_P50_MS, 2),
            )
        ]
        yield f"| {label} | {' | '.join((*texts[:2], interval, *texts[2:]))} |"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _commit(tags: Mapping[str, str], tag: str) -> str:
    return f" at `{tags[tag]}`" if tag in tags else ""
