import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command as alembic
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base

from pipeline import server
from pipeline.config.schema import TrackingConfig
from pipeline.errors import PipelineError
from pipeline.tracking.connection import open_experiment
from pipeline.tracking.database import check_database, open_client
from pipeline.tracking.store import store_errors

ROOT = Path(__file__).parents[2]
SCHEMA_OF_3_16 = "b7e2c1a4d9f3"


def change(uri: str, statement: str) -> None:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        database.execute(statement)
        database.commit()


@pytest.fixture
def of_3_16(tmp_path: Path) -> str:
    """A store with an experiment, whose tables are those of MLflow 3.16."""
    uri = f"sqlite:///{tmp_path / 'older.db'}"
    engine = sqlalchemy.create_engine(uri)
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, SCHEMA_OF_3_16)
    engine.dispose()
    change(uri, "INSERT INTO experiments (name, lifecycle_stage) VALUES ('kept', 'active')")
    return uri


def test_a_store_of_the_version_before_comes_with_the_command_that_migrates_it(
    of_3_16: str,
) -> None:
    before = Path(of_3_16.removeprefix("sqlite:///")).read_bytes()
    with pytest.raises(PipelineError, match="older schema .* make a backup of it, and") as caught:
        open_experiment(TrackingConfig(of_3_16))
    with pytest.raises(PipelineError, match="migrate it with --upgrade"):
        server._prepare(of_3_16, upgrade=False)
    assert Path(of_3_16.removeprefix("sqlite:///")).read_bytes() == before, "nothing was migrated"
    command = str(caught.value).partition("migrate it with: ")[2]
    subprocess.run(command, shell=True, check=True, cwd=ROOT, capture_output=True)
    assert open_client(of_3_16).get_experiment_by_name("kept") is not None


def test_the_server_migrates_its_database_when_it_is_told_to(of_3_16: str) -> None:
    server._prepare(of_3_16, upgrade=True)
    assert open_client(of_3_16).get_experiment_by_name("kept") is not None


def test_a_store_of_a_later_version_is_left_alone(store: str) -> None:
    change(store, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(PipelineError, match="newer schema than that of MLflow 3"):
        check_database(store)


def test_a_new_store_and_a_server_are_not_looked_at(tmp_path: Path) -> None:
    check_database(f"sqlite:///{tmp_path / 'new.db'}")
    check_database("http://127.0.0.1:9")
    assert not list(tmp_path.iterdir())


def test_a_database_that_does_not_answer_is_one_line_at_once_without_its_password() -> None:
    pytest.importorskip("psycopg")
    uri = "postgresql://team:hunter2@127.0.0.1:9/mlflow"
    with pytest.raises(PipelineError, match="Connection refused") as caught:
        open_experiment(TrackingConfig(uri))
    assert "postgresql://***@127.0.0.1:9/mlflow cannot be used" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_driver_that_is_not_installed_comes_with_the_extra_that_has_it() -> None:
    with (
        pytest.raises(PipelineError, match=r"No module named .*pip install -e '.\[server\]'"),
        store_errors("oracle://team:hunter2@127.0.0.1/mlflow"),
    ):
        check_database("oracle://team:hunter2@127.0.0.1/mlflow")
