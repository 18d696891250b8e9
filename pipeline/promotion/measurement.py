"""Measure candidate and champion side by side, on the validation split of the candidate's run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.baseline.linear import LinearClassifier
from pipeline.config.schema import BenchmarkConfig, DatasetConfig
from pipeline.data.corpus import Corpus, load_corpus
from pipeline.data.rows import listed
from pipeline.errors import PipelineError
from pipeline.evaluation.benchmark import benchmark
from pipeline.inference.classifier import TextClassifier
from pipeline.models.artifact import Artifact
from pipeline.names import VALIDATION
from pipeline.promotion.gate import Floor, Measured


def read_again(dataset: DatasetConfig, digests: Mapping[str, str], run_id: str) -> Corpus:
    """Read the corpus of a run again, and make sure that its validation split is the same.

    Args:
        dataset: the dataset group of the run.
        digests: digest of each of its splits by name, as the run logged them.
        run_id: id of the run, which the error names.

    Raises:
        PipelineError: the corpus cannot be read, or is another one now.
    """
    try:
        corpus = load_corpus(replace(dataset, unlabelled_file=None))
    except PipelineError as error:
        raise PipelineError(
            f"run {run_id} is measured on its validation split, which cannot be read: {error}"
        ) from error
    then, now = digests.get(VALIDATION), corpus.digests[VALIDATION]
    if then != now:
        raise PipelineError(
            f"the validation split of run {run_id} has changed since (digest {then}, now {now}); "
            "train on it as it is now, and promote that run."
        )
    return corpus


def measure(directory: Path, corpus: Corpus, name: str) -> Measured:
    """Classify the validation split with a model's file.

    A champion that was trained on another corpus may know some of these texts, which favours it.

    Args:
        directory: directory that an export wrote.
        corpus: labelled texts of the candidate's run.
        name: what the error calls the model.

    Raises:
        PipelineError: the model answers with other labels than the corpus has, so that comparing
            them would favour whatever is new.
    """
    texts = corpus.splits[VALIDATION]["text"]
    classifier = TextClassifier(directory)
    if set(classifier.label_names) != set(corpus.label_names):
        raise PipelineError(
            f"the {name} answers with {listed(classifier.label_names)}, and the corpus has "
            f"{listed(corpus.label_names)}: they do not do one task; use another --name."
        )
    predicted = np.array(classifier.label_names)[classifier.logits(texts).argmax(-1)]
    return Measured(directory, predicted == _labels(corpus), Artifact("", directory).size_mb)


def time_both(candidate: Measured, champion: Measured, corpus: Corpus) -> tuple[Measured, Measured]:
    """Time two models in turns, so that a busy machine slows both; each cuts texts as it is served.

    Args:
        candidate: model that is to become the champion.
        champion: present champion.
        corpus: labelled texts of the candidate's run.

    Returns:
        Both with their p50 latency.
    """
    models = {"candidate": candidate, "champion": champion}
    artifacts = [Artifact(name, model.directory) for name, model in models.items()]
    texts = corpus.splits[VALIDATION]["text"]
    times = benchmark(artifacts, texts, None, BenchmarkConfig())
    first, second = (
        replace(model, latency_p50_ms=times[name].at(1, None).p50_ms)
        for name, model in models.items()
    )
    return first, second


def floor_of(linear: Path | None, corpus: Corpus) -> Floor:
    """Return what a model has to beat.

    Args:
        linear: directory of the linear model; None takes the most frequent class.
        corpus: labelled texts of the candidate's run.
    """
    if linear is None:
        return most_frequent_class(corpus)
    texts, labels = corpus.splits[VALIDATION]["text"], corpus.splits[VALIDATION]["label"]
    logits = LinearClassifier(linear).logits(texts, corpus.label_names)
    return Floor("that of the linear model", logits.argmax(-1) == np.array(labels))


def most_frequent_class(corpus: Corpus) -> Floor:
    """Return the constant answer that is right most often on the validation split.

    Args:
        corpus: labelled texts of the candidate's run.
    """
    labels = _labels(corpus)
    names, counts = np.unique(labels, return_counts=True)
    name = names[counts.argmax()]
    return Floor(f"that of answering {name} to everything", labels == name)


def _labels(corpus: Corpus) -> np.ndarray:
    """Return the true class of each text of the validation split by its name, (rows,)."""
    names: np.ndarray = np.array(corpus.label_names)
    return names[np.array(corpus.splits[VALIDATION]["label"])]
