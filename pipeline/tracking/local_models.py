"""Find a model in a SQLite store without MLflow, whose import takes most of a short command.

The tables are those of MLflow 3.17; where they are others, or do not have the model, MLflow is
asked, and says what is wrong.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from pipeline.config.paths import is_directory, is_file
from pipeline.names import MODEL
from pipeline.tracking.store import SQLITE

READY = 2  # of mlflow.entities.LoggedModelStatus
LOGGED = "models:/m-"  # begins the source of a version that was registered from a logged model
OF_RUN = """
SELECT artifact_location FROM logged_models
WHERE source_run_id = ? AND name = ? AND status = ? AND lifecycle_stage = 'active'
ORDER BY creation_timestamp_ms DESC
"""
BY_ID = """
SELECT artifact_location FROM logged_models
WHERE 'models:/' || model_id = ? AND lifecycle_stage = 'active'
"""
OF_VERSION = "SELECT source FROM model_versions WHERE name = ? AND version = ?"
OF_ALIAS = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"


def local_path(uri: str) -> Path | None:
    """Return where artifacts lie on this machine; None if a server has them.

    Args:
        uri: address of the artifacts, as MLflow has it.
    """
    parsed = urlparse(uri)
    return Path(unquote(parsed.path)) if parsed.scheme in {"", "file"} else None


def model_of_run(store: str, run_id: str) -> Path | None:
    """Find the model that a run logged.

    Args:
        store: address of the tracking store.
        run_id: id of the run.

    Returns:
        Its directory; None if MLflow has to be asked.
    """
    return _folder(_first(store, OF_RUN, run_id, MODEL, READY))


def registered_model(store: str, name: str, alias: str | None, version: str | None) -> Path | None:
    """Find a version of a registered model.

    Args:
        store: address of the tracking store.
        name: name of the registered model.
        alias: an alias of the version; None if its number is given.
        version: number of the version; None if an alias is given.

    Returns:
        Its directory; None if MLflow has to be asked.
    """
    if os.environ.get("MLFLOW_REGISTRY_URI", store) != store:
        return None
    if alias is not None:
        version = _first(store, OF_ALIAS, name, alias)
    source = None if version is None else _first(store, OF_VERSION, name, version)
    if source is None or not source.startswith(LOGGED):
        return None
    return _folder(_first(store, BY_ID, source))


def _first(store: str, query: str, *values: str | int) -> str | None:
    """Return the one value of a query's first row; None if there is none or no such table."""
    file = store.removeprefix(SQLITE)
    if not store.startswith(SQLITE) or not is_file(file):
        return None
    try:
        with closing(sqlite3.connect(f"{Path(file).absolute().as_uri()}?mode=ro", uri=True)) as db:
            row = db.execute(query, values).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])


def _folder(location: str | None) -> Path | None:
    folder = None if location is None else local_path(location)
    return folder if folder is not None and is_directory(folder) else None
