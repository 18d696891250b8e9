"""Keep third parties' notices from the terminal, and switch off their usage statistics."""

import logging
import os
import warnings


def third_parties() -> None:
    """Silence notices that the person at the terminal can do nothing about; errors still show.

    Call it before anything heavy is imported: Neural Compressor 3.7 and MLflow 3.17 set their
    loggers' levels from the environment when they are imported.
    """
    os.environ.setdefault("LOGLEVEL", "ERROR")  # Neural Compressor's
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Usage statistics of MLflow, the Hugging Face Hub's client and NNCF: they are sent unless the
    # environment says no.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("NNCF_CI", "1")
    warnings.filterwarnings("ignore")
    for name in ("alembic", "optimum", "torch", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
