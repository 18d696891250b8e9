"""Collect what the figures of a run depend on beside its config."""

from pipeline.config.identity import Ingredients
from pipeline.config.schema import Config
from pipeline.data.corpus import Corpus
from pipeline.models.source import is_commit, model_version, teacher_version
from pipeline.names import DATASET_COMMIT_TAG, MODEL_COMMIT_TAG


def ingredients_of(config: Config, corpus: Corpus) -> Ingredients:
    """Collect what the figures of a run depend on beside its config.

    Args:
        config: resolved config of the run.
        corpus: the labelled texts.
    """
    model, teacher = model_version(config.model), teacher_version(config.distillation)
    return Ingredients(corpus.digests, corpus.label_names, model, teacher)


def commits_of(ingredients: Ingredients, corpus: Corpus) -> dict[str, str | None]:
    """Return the tags with the Hub's commits of model and dataset; None for what is not from there.

    Args:
        ingredients: what the run depends on.
        corpus: the labelled texts.
    """
    model = ingredients.model if is_commit(ingredients.model) else None
    return {MODEL_COMMIT_TAG: model, DATASET_COMMIT_TAG: corpus.commit}
