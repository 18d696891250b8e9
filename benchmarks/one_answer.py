"""Measure whether a deployed text classifier gives a text one answer.

python benchmarks/one_answer.py [--run RUN_ID] [--texts FILE]

Every export of a run classifies the corpus's whole test split: text by text, and then in batches of
several sizes, in another order, on other numbers of threads and in another process. Printed are the
largest difference between a text's probabilities alone and in company, the labels that differ, and
the accuracy of texts sent alone beside the one in MLflow.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _inputs import CORPUS, artifacts_of
from _promises import Promise, print_promises
from mlflow.tracking import MlflowClient

from pipeline.console.command_line import exit_code
from pipeline.inference.classifier import TextClassifier, probabilities
from pipeline.names import ACCURACY, ONNX_FP32, ONNX_INT8, OPENVINO_INT8, figure_of
from pipeline.tracking.lookup import newest_shipped
from pipeline.tracking.store import tracking_uri

SIZES = (2, 7, 31, 32, 100)
THREADS = (1, 2, 4)
LARGEST_DIFFERENCE = 1e-4
ROUNDED = 5e-5  # half of the fourth digit


def main() -> int:
    """Measure every export of a run.

    Returns:
        The exit code: 1 if a promise is broken.
    """
    options = parser().parse_args()
    client = MlflowClient(tracking_uri())
    run = client.get_run(options.run or newest_shipped(client))
    rows = pd.read_csv(options.texts, dtype=str, keep_default_na=False)
    texts, labels = list(rows["text"]), np.array(rows["label"])
    promises = []
    for variant in (ONNX_FP32, ONNX_INT8, OPENVINO_INT8):
        directory = artifacts_of(run) / variant
        if not directory.is_dir():
            continue
        alone = in_batches(directory, texts, size=1)
        names = np.array(TextClassifier(directory).label_names)
        promises += compare(f"{variant}:", alone, answers_in_company(directory, texts))
        accuracy = float(np.mean(names[alone.argmax(axis=1)] == labels))
        logged = run.data.metrics[figure_of(variant, ACCURACY)]
        print(f"{variant}: accuracy of texts sent alone {accuracy:.4f}, in MLflow {logged:.4f}")
        figure = f"{variant}: difference of the two"
        promises.append(Promise(figure, abs(accuracy - logged), ROUNDED))
    return print_promises(promises)


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--run",
        metavar="RUN_ID",
        help="run with exports (default: the newest that shipped a model)",
    )
    command.add_argument(
        "--texts",
        metavar="FILE",
        default=f"{CORPUS}/test.csv",
        help="the run's test split, a CSV file with the columns text and label "
        "(default: %(default)s)",
    )
    return command


def in_batches(directory: Path, texts: Sequence[str], size: int, threads: int = 2) -> np.ndarray:
    """Classify texts in calls of some texts each.

    Args:
        directory: directory of an export.
        texts: texts to classify.
        size: texts of one call.
        threads: threads of one call.

    Returns:
        Probabilities, (texts, num_labels).
    """
    classifier = TextClassifier(directory, threads)
    calls = [texts[start : start + size] for start in range(0, len(texts), size)]
    return probabilities(np.concatenate([classifier.logits(call) for call in calls]))


def answers_in_company(directory: Path, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Classify texts in all the ways in which the answer should not change.

    Args:
        directory: directory of an export.
        texts: texts to classify.

    Returns:
        Probabilities (texts, num_labels) by the way.
    """
    answers = {f"batches of {size}": in_batches(directory, texts, size) for size in SIZES}
    answers["one call"] = in_batches(directory, texts, len(texts))
    answers |= {f"{count} threads": in_batches(directory, texts, 1, count) for count in THREADS}
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = in_batches(directory, [texts[place] for place in order], 32)
    answers["shuffled"] = np.empty_like(shuffled)
    answers["shuffled"][order] = shuffled
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answers["another process"] = pool.apply(in_batches, (directory, texts, 1))
    return answers


def compare(name: str, alone: np.ndarray, company: dict[str, np.ndarray]) -> list[Promise]:
    """Print what differs in each way, and return what was promised of the worst.

    Args:
        name: the export, as it is printed.
        alone: probabilities of texts sent alone, (texts, num_labels).
        company: the same in other ways.
    """
    largest, flips = 0.0, 0
    for way, values in company.items():
        difference = float(np.abs(values - alone).max())
        differing = int((values.argmax(axis=1) != alone.argmax(axis=1)).sum())
        print(f"{name} {way}: largest difference {difference:.1e}, {differing} labels differ")
        largest, flips = max(largest, difference), max(flips, differing)
    return [
        Promise(f"{name} largest difference of a probability", largest, LARGEST_DIFFERENCE),
        Promise(f"{name} labels that differ", flips, 0),
    ]


if __name__ == "__main__":
    sys.exit(exit_code(main))
