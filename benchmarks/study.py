"""Measure what the recipes are worth: the default, few texts, fewer layers, teachers, and QAT.

python benchmarks/study.py [--part PART ...] [--corpus NAME=DIR ...] [--line LABEL ...]
                           [--seeds 1,2,3] [--show] [KEY=VALUE ...]

Each line of a part's table is a sweep over seeds, like any other: what is FINISHED is not run
again, so that the same command goes on where it was stopped. The corpora are the reviews, and those
in the directories that are given. Prints tables in Markdown, means with their 95 % intervals over
seeds (Student's t), and draws the front of accuracy against latency.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.console import third_parties

third_parties.prepare()

from _inputs import CORPUS, ENCODER, write_as
from _study_tables import draw_front, table
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.names import FINISHED, SWEEP_TAG
from pipeline.tracking.lookup import children_of
from pipeline.tracking.store import DEFAULT_TRACKING_URI

FRONT = "front"
TEXTS = (500, 2000, 10_000, None)  # of train; None is all
FEW_TEXTS = 1000  # for five seeds of every recipe
LAYERS = 6  # of the encoder
POST_TRAINING = "ptq_dynamic"  # ptq_static exports the same files
QAT_AFTER = "finetune_then_qat"
COMPRESS = ["experiment=compress"]
SIX_LAYERS, PRUNED = ", 6 layers", ", half of the weights pruned"
ELECTRA, ROBERTA = ", as an ELECTRA", ", as a RoBERTa"
WHOLE = [f"model.num_hidden_layers={LAYERS}", "qat=none", "export=none"]


@dataclass(frozen=True)
class Part:
    """A question, and the lines of the table that answers it.

    Args:
        question: what is asked.
        lines: overrides of each line's runs.
        seeds: seeds of each line's runs, unless the command line has others.
        benchmark: the benchmark group: times take minutes, and are not asked for everywhere.
        against: of a line, the label of the one that it is compared with, seed by seed.
    """

    question: str
    lines: Mapping[str, Sequence[str]]
    seeds: str = "1,2,3"
    benchmark: str = "none"
    against: Mapping[str, str] = field(default_factory=dict)


def texts_of(count: int | None) -> list[str]:
    """Return the overrides that keep a number of training texts."""
    return [] if count is None else [f"dataset.max_train_samples={count}"]


PARTS: Mapping[str, Part] = {
    "recipe": Part(
        "Does the default recipe converge, on few texts too?",
        {
            **{f"{count or 'all'} texts": texts_of(count) for count in TEXTS},
            **{f"{count or 'all'} texts, 6 layers": [*texts_of(count), *WHOLE] for count in TEXTS},
        },
    ),
    "compress": Part(
        "Does a teacher give its accuracy to two or three of its layers?",
        {
            "two layers": [],
            "three layers": ["model.num_hidden_layers=3"],
            **{
                f"{count} layers of the teacher, taught{more}": [
                    *COMPRESS,
                    f"model.num_hidden_layers={layers}",
                    *overrides,
                ]
                for layers, count in ((2, "two"), (3, "three"))
                for more, overrides in (
                    ("", []),
                    (", hidden states too", ["distillation.hidden_states_weight=1"]),
                )
            },
        },
        benchmark="short",
    ),
    FRONT: Part(
        "What does a layer cost, and what does it give?",
        {
            f"{layers} of {LAYERS} layers": [*COMPRESS, f"model.num_hidden_layers={layers}"]
            for layers in range(1, LAYERS + 1)
        },
        benchmark="short",
    ),
    "qat": Part(
        "When does QAT pay?",
        {
            f"{recipe}{setting}": [f"qat={recipe}", *texts_of(FEW_TEXTS), *overrides]
            for setting, overrides, recipes in (
                ("", [], (POST_TRAINING, QAT_AFTER, "direct")),
                (SIX_LAYERS, [f"model.num_hidden_layers={LAYERS}"], (POST_TRAINING, QAT_AFTER)),
                (PRUNED, ["+pruning=magnitude"], (POST_TRAINING, QAT_AFTER)),
                (ELECTRA, [f"model.name_or_path={ENCODER}_electra"], (POST_TRAINING, QAT_AFTER)),
                (ROBERTA, [f"model.name_or_path={ENCODER}_roberta"], (POST_TRAINING, QAT_AFTER)),
                (", one scale a weight", ["qat.weight_granularity=per_tensor"], (QAT_AFTER,)),
            )
            for recipe in recipes
        },
        seeds="1,2,3,4,5",
        against={
            "direct": POST_TRAINING,
            f"{QAT_AFTER}, one scale a weight": QAT_AFTER,
            **{
                QAT_AFTER + each: POST_TRAINING + each
                for each in ("", SIX_LAYERS, PRUNED, ELECTRA, ROBERTA)
            },
        },
    ),
}
COMMON = ["export.max_accuracy_loss=1.0"]


def main() -> None:
    """Run what is missing, and print the tables."""
    options = parser().parse_args()
    corpora = {"reviews": CORPUS, **dict(each.split("=", 1) for each in options.corpus)}
    for model_type in ("electra", "roberta"):
        if not Path(f"{ENCODER}_{model_type}").exists():
            write_as(model_type)
    for name in options.part or PARTS:
        part = PARTS[name]
        print(f"## {part.question}\n", flush=True)
        for corpus, folder in corpora.items():
            runs = dict(lines_of(name, corpus, folder, options))
            print(*table(corpus, runs, part.against), "", sep="\n", flush=True)
            if name == FRONT:
                draw_front(corpus, runs)


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--part", action="append", choices=PARTS, help="default: all of them")
    command.add_argument(
        "--corpus",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="another corpus: a directory with train.csv, validation.csv and test.csv",
    )
    command.add_argument(
        "--line",
        action="append",
        choices=[label for part in PARTS.values() for label in part.lines],
        metavar="LABEL",
        help="run these lines alone, by their labels in the table (default: all)",
    )
    command.add_argument("--seeds", metavar="N,N,...", help="seeds of each line's runs")
    command.add_argument("--show", action="store_true", help="run nothing, print what there is")
    command.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="overrides of every run, as for python -m pipeline",
    )
    return command


def lines_of(
    name: str, corpus: str, folder: str, options: argparse.Namespace
) -> Iterator[tuple[str, list[Run]]]:
    """Run the sweeps of a part on one corpus.

    Args:
        name: name of the part.
        corpus: name of the corpus.
        folder: its directory.
        options: the command line.

    Yields:
        Each line's label and its finished runs.
    """
    part = PARTS[name]
    for label, overrides in part.lines.items():
        sweep = f"{name}-{re.sub('[^a-z0-9]+', '-', label.lower())}"
        arguments = [
            *(each for each in overrides if each.startswith("experiment=")),
            "model=minilm",
            "dataset=files",
            f"dataset.name={corpus}",
            f"dataset.data_dir={folder}",
            *(each for each in overrides if not each.startswith("experiment=")),
            *COMMON,
            f"benchmark={part.benchmark}",
            *options.overrides,
            f"trainer.seed={options.seeds or part.seeds}",
            f"tracking.experiment_name=study-{name}-{corpus}",
            f"sweep.name={sweep}",
        ]
        if not options.show and (options.line is None or label in options.line):
            print(f"{name}, {corpus}: {label}", file=sys.stderr, flush=True)
            command = [sys.executable, "-m", "pipeline", "-m", *arguments]
            subprocess.run(command, check=True, stdout=sys.stderr)
        yield label, jobs_of(f"study-{name}-{corpus}", sweep)


def jobs_of(experiment_name: str, sweep: str) -> list[Run]:
    """Read the finished jobs of a line's newest sweep.

    Args:
        experiment_name: name of the MLflow experiment.
        sweep: the sweep.name that its jobs were given.
    """
    client = MlflowClient(DEFAULT_TRACKING_URI)
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        return []
    found = client.search_runs(
        [experiment.experiment_id],
        f"tags.`{SWEEP_TAG}` LIKE '%' AND attributes.run_name LIKE '%·{sweep}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return [run for each in found for run in children_of(client, each, f"status = '{FINISHED}'")]


if __name__ == "__main__":
    main()
