"""Set what third parties read from the environment while they are imported."""

import atexit
import logging
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from pipeline.cpus import available_cpus


def prepare(*, computes: bool = True) -> None:
    """Keep third parties quiet, within their share of the machine, and out of HOME.

    Call it before anything heavy is imported. What the user has set in the environment stays.

    Args:
        computes: whether this process trains or predicts. One that only launches others leaves the
            number of threads to them: joblib gives a worker its share unless the variable is set.
    """
    _silence()
    _switch_off_statistics()
    _find_home()
    if computes:
        _share_cpus()


def _silence() -> None:
    """Silence notices that the person at the terminal can do nothing about; errors still show."""
    os.environ.setdefault("LOGLEVEL", "ERROR")  # Neural Compressor's
    # 6 is nothing: neural-compressor 3.7.1 otherwise writes to ~/.habana_logs when it is imported.
    os.environ.setdefault("LOG_LEVEL_INC", "6")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")
    # MLflow 3.17 has filters of its own while it logs a model.
    warnings.showwarning = _show_nothing
    for name in ("alembic", "matplotlib", "optimum", "torch", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _show_nothing(*_: Any, **__: Any) -> None:
    """Take the place of warnings.showwarning."""


def _switch_off_statistics() -> None:
    """Switch off usage statistics of MLflow, the Hub's client, NNCF, ONNX Runtime and Ray."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("NNCF_CI", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # OpenVINO 2026.4 counts its imports in ~/intel, unless this package is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def _find_home() -> None:
    """Keep matplotlib's fonts in the cache, and give a user without a home a scratch one."""
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in /etc/passwd; MLflow 3.17 wants one
        home = Path(tempfile.mkdtemp(prefix="pipeline-home-"))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        os.environ["HOME"] = str(home)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))


def _share_cpus() -> None:
    """Take no more threads than this process may have CPUs, and leave a CPU while waiting."""
    cpus = available_cpus()
    if cpus < (os.cpu_count() or 1):  # torch takes the machine's physical cores otherwise
        os.environ.setdefault("OMP_NUM_THREADS", str(cpus))
        os.environ.setdefault("RAYON_NUM_THREADS", str(cpus))  # tokenizers'
    # A thread of torch that waits for the others would spin for milliseconds (libgomp's default),
    # although the one that it waits for may have no CPU on a machine that does other work. Not to
    # spin at all costs a tenth of a step on an idle one.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
