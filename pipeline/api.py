"""Use the pipeline from Python: compose a config, read its corpus, train, compare, classify.

These are the names that notebooks and scripts may rely on; docs/python.md shows them at work.

    from pipeline import api

    config = api.compose("experiment=quickstart", "trainer.seed=1")
    run = api.train(config)
    table = api.compare([run, api.train(api.compose("experiment=quickstart", "qat=none"))])
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra import compose as compose_with_hydra
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from pipeline.cli import CONF, explain
from pipeline.config import hub, schema
from pipeline.config.resolve import resolve
from pipeline.config.schema import Config
from pipeline.console import third_parties
from pipeline.console.disk import disk_errors
from pipeline.errors import PipelineError
from pipeline.names import DEFAULT_OBJECTIVE

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

    from pipeline.data.corpus import Corpus
    from pipeline.inference.classifier import TextClassifier

third_parties.prepare()


def compose(*overrides: str) -> Config:
    """Compose a config, as the command line does.

    Args:
        overrides: GROUP=OPTION and KEY=VALUE, as one types them behind `python -m pipeline`.

    Raises:
        PipelineError: with a line that says what is wrong and what would be accepted.
    """
    schema.register()
    try:
        with initialize_config_dir(str(CONF)):
            config = resolve(compose_with_hydra("config", list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise PipelineError(explain(error)) from error
    if config.rerun is not None or config.sweep.name is not None:
        raise PipelineError("rerun and sweep are for the command line: python -m pipeline -m ...")
    return config


def load_corpus(config: Config) -> "Corpus":
    """Read the labelled texts of a config.

    Args:
        config: what compose() returned.

    Returns:
        The corpus: `label_names`, and `splits` by name, each a datasets.Dataset with the columns
        `text` and `label` (an index of label_names).

    Raises:
        PipelineError: they cannot be read, with the file, the line and the remedy.
    """
    from pipeline.data import corpus

    hub.use_cache_if_silent(config)
    with disk_errors():
        return corpus.load_corpus(config.dataset)


def train(config: Config) -> "Run":
    """Fine-tune, quantize, store, reload and measure one model, as `python -m pipeline` does.

    Args:
        config: what compose() returned.

    Returns:
        The finished run as MLflow has it: `data.metrics`, `data.params`, `data.tags`, and
        `info.run_id`.

    Raises:
        PipelineError: with a line that says what to change; the run in MLflow is then FAILED.
    """
    corpus = load_corpus(config)
    from mlflow.tracking import MlflowClient

    from pipeline.run import run

    with disk_errors():
        run_id = run(config, corpus)
    return MlflowClient(config.tracking.tracking_uri).get_run(run_id)


def compare(runs: "Sequence[Run]", objective: str = DEFAULT_OBJECTIVE) -> "pd.DataFrame":
    """Put runs beside each other, as `python -m pipeline.compare` does.

    Args:
        runs: runs as MLflow has them, of any experiments.
        objective: figure that they are sorted by, the best first.

    Raises:
        PipelineError: there are no runs, or none of them has that figure.

    Returns:
        A row for each run: its name, its figures and what tells it apart from the others, the runs
        of one corpus below each other.
    """
    from pipeline.comparison.corpora import check_logged, compare, table_of

    check_logged([objective], runs)
    return table_of(compare(runs, [objective]))


def classifier(reference: str) -> "TextClassifier":
    """Load the deployed model of a run, a registry or a directory; no code of it is run.

    Args:
        reference: run id, models:/NAME@ALIAS, models:/NAME/VERSION or a directory. Runs and
            registries are those of MLFLOW_TRACKING_URI, by default of mlruns/mlflow.db.

    Returns:
        The classifier; `answers(logits(texts))` gives label, score and the scores of all classes.

    Raises:
        PipelineError: there is no such model, or it is damaged.
    """
    from pipeline.inference.classifier import TextClassifier
    from pipeline.tracking.locate_model import model_directory

    return TextClassifier(model_directory(reference))


__all__ = ["classifier", "compare", "compose", "load_corpus", "train"]
