"""Look at a database before MLflow opens it: does it answer, and are its tables this MLflow's?"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.console.command_line import python
from pipeline.errors import PipelineError, redacted
from pipeline.tracking.store import SQLITE, is_server

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ANSWER_SECONDS = 10


class OlderSchemaError(PipelineError):
    """Report a database that an older version of MLflow made."""


def open_client(uri: str) -> "MlflowClient":
    """Open a store for reading.

    Args:
        uri: address of the store.

    Raises:
        PipelineError: its tables are of another version of MLflow.
        SQLAlchemyError, OSError: the database does not answer.
    """
    from mlflow.tracking import MlflowClient

    check_database(uri)
    return MlflowClient(uri)


def check_database(uri: str, patience_s: float = 0.0) -> None:
    """Make sure that a database answers, and that MLflow would not migrate it.

    MLflow 3.17 asks a database that does not answer, or refuses the password, ten times in three
    minutes, silently. It migrates one of an older version as soon as it lacks a table, without
    asking: the servers of that version would no longer work.

    Args:
        uri: address of the store; a server's is left alone, and so is a new file.
        patience_s: seconds to wait for a database that does not answer.

    Raises:
        PipelineError: its tables are of another version of MLflow.
        SQLAlchemyError, OSError: the database does not answer.
    """
    if is_server(uri) or (uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file()):
        return
    from pipeline.tracking.patience import Patience

    found = Patience().send(partial(_revision, uri), patience_s)
    if found is not None:
        _check_revision(uri, found)


def _revision(uri: str) -> str | None:
    """Read which of MLflow's migrations a database has; None if it is empty."""
    import sqlalchemy
    from alembic.migration import MigrationContext

    options = {"connect_timeout": ANSWER_SECONDS} if uri.startswith("postgresql") else {}
    engine = sqlalchemy.create_engine(uri, connect_args=options)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def _check_revision(uri: str, found: str) -> None:
    import mlflow
    from alembic.script import ScriptDirectory

    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    known = ScriptDirectory(str(migrations))
    if found in known.get_heads():
        return
    ours = f"that of MLflow {mlflow.__version__}"
    if found not in {each.revision for each in known.walk_revisions()}:
        raise PipelineError(
            f"the tracking store {redacted(uri)} has a newer schema than {ours}; install the "
            "version that it was made with."
        )
    upgrade = python("-m", "mlflow", "db", "upgrade", redacted(uri))
    raise OlderSchemaError(
        f"the tracking store {redacted(uri)} has an older schema than {ours}; make a backup of it, "
        f"and migrate it with: {upgrade}"
    )
