"""Train, store and read the linear model that a network has to beat.

TF-IDF of words and of characters under logistic regression, from scikit-learn: what most people
would try first, in seconds and without a pretrained model.
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union

from pipeline.config.schema import BaselineConfig
from pipeline.errors import PipelineError

MODEL_FILE = "model.skops"
SEPARATOR = "\n"  # of terms, in which there is no line break
SCORED_AT_ONCE = 10_000
# L-BFGS of scipy 1.17 holds 25 numbers of 8 bytes for each coefficient: 2 GB with so many. That is
# 53,000 features for 150 classes.
MOST_COEFFICIENTS = 8_000_000
log = logging.getLogger(__name__)
# Log-probability of a class that the training texts lack.
NEVER = -50.0


def train(
    texts: Sequence[str], labels: Sequence[str], config: BaselineConfig, seed: int
) -> Pipeline:
    """Train the model.

    Args:
        texts: training texts.
        labels: name of the class of each text; at least two different ones.
        config: the baseline group.
        seed: seed of the choice of texts, if there are more than config.max_train_samples.

    Returns:
        A scikit-learn Pipeline from texts to names of classes. Texts without words, as of emoji,
        have the features of their characters alone.

    Raises:
        PipelineError: the texts have no features at all, as with a min_df that is too large.
    """
    limit = config.max_train_samples
    if limit is not None and limit < len(texts):
        log.info("linear model: trained on %d of %d texts", limit, len(texts))
        chosen = np.random.default_rng(seed).permutation(len(texts))[:limit]
        texts, labels = [texts[row] for row in chosen], [labels[row] for row in chosen]
    texts = list(texts)
    try:
        features, inputs = _fitted_features(texts, config, MOST_COEFFICIENTS // len(set(labels)))
        # scikit-learn's own 100 iterations (1.9) are too few for emotion's tweets: where the solver
        # then stands, and so the accuracy, depends on the CPU.
        classifier = LogisticRegression(C=config.C, max_iter=config.max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # in a line of ours, below
            classifier.fit(inputs, labels)
    except ValueError as error:
        raise PipelineError(
            f"the linear model cannot be trained: {str(error).splitlines()[0]}; lower "
            "baseline.min_df, or leave it out with baseline=none."
        ) from error
    if classifier.n_iter_.max() >= config.max_iter:
        line = "linear model: not converged after %d iterations; a larger baseline.max_iter helps"
        log.warning(line, config.max_iter)
    return make_pipeline(features, classifier)


def _fitted_features(
    texts: Sequence[str], config: BaselineConfig, most: int
) -> tuple[FeatureUnion, csr_matrix]:
    """Fit TF-IDF of words and of characters; return it with the texts' features.

    If there are more features than `most`, half of them are the most frequent ones of words, and
    half those of characters.
    """
    options = {"sublinear_tf": True, "min_df": config.min_df, "dtype": np.float32}
    words = TfidfVectorizer(ngram_range=tuple(config.word_ngram_range), **options)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=tuple(config.char_ngram_range), **options
    )
    has_words = any(map(words.build_analyzer(), texts))
    features = make_union(words, characters) if has_words else make_union(characters)
    inputs = features.fit_transform(texts)
    if inputs.shape[1] <= most:
        return features, inputs
    log.info("linear model: %d of %d features, the most frequent", most, inputs.shape[1])
    kinds = [vectorizer for _, vectorizer in features.transformer_list]
    for vectorizer in kinds:
        vectorizer.set_params(max_features=max(1, most // len(kinds)))
    return features, features.fit_transform(texts)


def save(model: Pipeline, folder: Path) -> None:
    """Write a model to a folder that does not exist yet, without a pickle.

    Args:
        model: trained model.
        folder: directory to make.
    """
    folder.mkdir()
    features, classifier = model
    # skops 0.16 writes 800 bytes for each entry of a vocabulary, and reads 16,000 of them in a
    # second; as one text they take no time.
    vectorizers = [
        {
            "options": vectorizer.get_params(),
            "terms": SEPARATOR.join(vectorizer.get_feature_names_out()),
            "idf": vectorizer.idf_,
        }
        for _, vectorizer in features.transformer_list
    ]
    stored = {"vectorizers": vectorizers, "classifier": classifier}
    skops.io.dump(stored, folder / MODEL_FILE)


class LinearClassifier:
    """A stored linear model.

    Args:
        folder: directory that save() wrote.

    Raises:
        PipelineError: it holds no such model, or types that scikit-learn does not bring; nothing of
            it runs.
    """

    def __init__(self, folder: Path) -> None:
        file = folder / MODEL_FILE
        try:
            unknown = skops.io.get_untrusted_types(file=file)
            if unknown:
                raise PipelineError(f"{file} holds types that are not trusted: {unknown[0]}.")
            self._model = _pipeline(skops.io.load(file))
        except PipelineError:
            raise
        except Exception as error:  # zip, JSON, NumPy and scikit-learn have no common base
            raise PipelineError(f"{file} holds no linear model: {error}") from error

    def logits(self, texts: Sequence[str], label_names: Sequence[str]) -> np.ndarray:
        """Score texts.

        Args:
            texts: any number of texts.
            label_names: classes in the order of the columns.

        Returns:
            Logarithms of the classes' probabilities, (texts, classes), float32.
        """
        known = {name: place for place, name in enumerate(self._model.classes_)}
        logits = np.full((len(texts), len(label_names)), NEVER, np.float32)
        columns = [column for column, name in enumerate(label_names) if name in known]
        places = [known[label_names[column]] for column in columns]
        # The features of a text take kilobytes.
        for start in range(0, len(texts), SCORED_AT_ONCE):
            some = slice(start, start + SCORED_AT_ONCE)
            scores = np.log(np.maximum(self.probabilities(texts[some]), np.exp(NEVER)))
            logits[some, columns] = scores[:, places]
        return logits

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return the probability of each class of the training texts, (texts, classes)."""
        found: np.ndarray = self._model.predict_proba(list(texts))
        return found


def _pipeline(stored: dict[str, Any]) -> Pipeline:
    """Build the model of what save() stored."""
    vectorizers = []
    for each in stored["vectorizers"]:
        terms = each["terms"].split(SEPARATOR)
        vectorizer = TfidfVectorizer(**{**each["options"], "vocabulary": terms})
        vectorizer.idf_ = each["idf"]
        vectorizers.append(vectorizer)
    return make_pipeline(make_union(*vectorizers), stored["classifier"])
