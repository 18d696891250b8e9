"""A tracking server as a team has it: PostgreSQL behind it, and artifacts through its proxy."""

import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from sqlalchemy import create_engine

from pipeline import compare, predict, promote
from pipeline.names import CHAMPION, PARENT_TAG, SWEEP_TAG
from pipeline.tracking.postgresql import PostgreSQL
from tests.conftest import Output
from tests.e2e.servers import Server, needs_postgresql
from tests.e2e.test_store_away import AWAY, AWAY_SECONDS, BACK

Command = Callable[..., Output]
SECRET = "hunter2"
TIMED = ["benchmark.repetitions=1", "benchmark.seconds=0.02", "export.formats=[onnx_fp32]"]
UNTIMED = ["benchmark=none", "export=none"]
DROPPED = ("tracking.", "export=", "benchmark=")  # of the overrides of a micro run
SHORT = ["trainer.max_steps=8", "trainer.eval_strategy=no", "trainer.logging_steps=1"]


@pytest.fixture(scope="module")
def team_server(database: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An `mlflow server` on it."""
    server = Server(database.address, tmp_path_factory.mktemp("served"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@needs_postgresql
def test_the_database_is_reached_by_its_user_alone_and_has_no_port(database: PostgreSQL) -> None:
    engine = create_engine(database.address)
    folder = Path(engine.url.query["host"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW listen_addresses").scalar() == ""
    engine.dispose()


@pytest.fixture
def to_team(micro: list[str], team_server: Server) -> list[str]:
    """Overrides of a small run whose server is told a name and a password."""
    host = team_server.address.removeprefix("http://")
    kept = [item for item in micro if not item.startswith(DROPPED)]
    address = f"http://team:{SECRET}@{host}"
    return [*kept, "qat=none", "tracking=server", f"tracking.tracking_uri={address}"]


def everything_of(client: MlflowClient, run: Run, scratch: Path) -> str:
    """What a run has in the store, as text."""
    files = Path(client.download_artifacts(run.info.run_id, "", str(scratch)))
    texts = [file.read_bytes().decode(errors="replace") for file in files.rglob("*.*")]
    return "\n".join([str(run.to_dictionary()), *texts])


@needs_postgresql
def test_four_writers_lose_no_metric_of_eight_jobs_while_their_server_is_killed(
    command: Command,
    to_team: list[str],
    team_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team_server.address)
    typed = ["-m", *to_team, *SHORT, *UNTIMED, "trainer.seed=range(1,9)"]
    typed += ["tracking.experiment_name=team", f"hydra.sweep.dir={tmp_path}/sweep"]
    client = MlflowClient(team_server.address)

    def runs() -> list[Run]:
        experiment = client.get_experiment_by_name("team")
        return client.search_runs([experiment.experiment_id]) if experiment else []

    def said() -> list[str]:
        return [file.read_text() for file in (tmp_path / "sweep").rglob("job.log")]

    def kill_in_mid_sweep() -> None:
        while sum(PARENT_TAG in run.data.tags for run in runs()) < 4:
            time.sleep(0.2)
        team_server.stop()
        begun = time.monotonic()
        while not any(AWAY in text for text in said()) and time.monotonic() < begun + 60:
            time.sleep(AWAY_SECONDS)  # until a writer has noticed
        team_server.start()

    killer = threading.Thread(target=kill_in_mid_sweep, daemon=True)
    killer.start()
    output = command(*typed, "hydra/launcher=joblib", "hydra.launcher.n_jobs=4")
    assert output.code == 0, output.err
    assert not killer.is_alive()
    logs = said()
    assert sum(AWAY in text for text in logs) >= 1
    assert [text.count(AWAY) for text in logs] == [text.count(BACK) for text in logs]
    (parent,) = (run for run in runs() if SWEEP_TAG in run.data.tags)
    jobs = [run for run in runs() if PARENT_TAG in run.data.tags]
    assert [run.info.status for run in (parent, *jobs)] == ["FINISHED"] * 9
    for run in jobs:
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in history] == list(range(1, 9))
    told = [output.out, output.err, *logs, everything_of(client, parent, tmp_path)]
    assert SECRET not in "\n".join([*told, everything_of(client, jobs[0], tmp_path)])

    client.set_terminated(jobs[0].info.run_id, "FAILED")
    output = command(*typed)
    assert output.code == 0, output.err
    assert "7 of 8 jobs have ended before and are skipped" in output.err
    assert compare.main(["--sweep", "latest"]) == 0
    shown = capfd.readouterr().out
    assert "8 runs" in shown, shown


@needs_postgresql
@pytest.mark.usefixtures("any_gate")
def test_a_run_whose_postgresql_restarts_again_and_again_is_promoted_and_predicts(
    command: Command,
    to_team: list[str],
    database: PostgreSQL,
    team_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team_server.address)
    restarts: list[str] = []

    def restart() -> None:
        database.stop()
        time.sleep(AWAY_SECONDS)
        database.start()

    def first_restarts(name: str) -> Callable[..., object]:
        original = getattr(MlflowClient, name)

        def request(self: MlflowClient, *args: object, **options: object) -> object:
            if name not in restarts:
                restarts.append(name)
                threads.append(threading.Thread(target=restart))
                threads[-1].start()
                time.sleep(0.5)
            return original(self, *args, **options)

        return request

    threads: list[threading.Thread] = []
    with monkeypatch.context() as patched:
        for name in ("log_inputs", "_create_logged_model", "set_terminated"):
            patched.setattr(MlflowClient, name, first_restarts(name))
        typed = [*to_team, *SHORT, *TIMED]
        output = command(*typed, "tracking.experiment_name=restarted")
    for thread in threads:
        thread.join()
    assert output.code == 0, output.err
    assert restarts == ["log_inputs", "_create_logged_model", "set_terminated"]
    assert output.err.count(AWAY) == output.err.count(BACK) >= 1
    client = MlflowClient(team_server.address)
    experiment = client.get_experiment_by_name("restarted")
    (run,) = client.search_runs(ids := [experiment.experiment_id])
    assert (run.info.status, run.data.tags.get("failure")) == ("FINISHED", None)
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == list(range(1, 9))
    assert [model.status for model in client.search_logged_models(ids)] == ["READY"]

    assert promote.main([run.info.run_id, "--gate", "any"]) == 0
    capfd.readouterr()
    assert predict.main(["--model", CHAMPION, "snow and ice"]) == 0
    assert '"cold"' in capfd.readouterr().out


@needs_postgresql
def test_a_password_in_the_address_of_a_database_is_nowhere(
    command: Command, to_team: list[str], database: PostgreSQL, tmp_path: Path
) -> None:
    """And PostgreSQL restarts while the run logs to it without a server."""
    address = database.address.replace("mlflow@", f"mlflow:{SECRET}@")
    typed = [item for item in to_team if not item.startswith("tracking")]
    typed += [f'tracking.tracking_uri="{address}"', "tracking.experiment_name=direct", *SHORT]
    typed += [f"tracking.artifact_location={tmp_path / 'artifacts'}", *UNTIMED]
    output = command(*typed)
    assert output.code == 0, output.err
    client = MlflowClient(database.address)
    experiment = client.get_experiment_by_name("direct")
    (run,) = client.search_runs([experiment.experiment_id])
    stored = everything_of(client, run, tmp_path)
    assert SECRET not in "\n".join([output.out, output.err, str(experiment.tags), stored])
    assert "postgresql://***@/postgres" in stored


@pytest.fixture
def guarded(tmp_path: Path, store: str) -> Iterator[Server]:
    """A server with MLflow's basic auth, on which users read unless they are told otherwise."""
    settings = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{tmp_path / 'users.db'}",
        "admin_username": "admin",
        "auth_cache_ttl_seconds": "60",  # a password is checked by hashing it for long
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    lines = ["[mlflow]", *(f"{name} = {value}" for name, value in settings.items())]
    (tmp_path / "users.ini").write_text("\n".join(lines))
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "users.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": f"{SECRET}-of-the-admin",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": f"{SECRET}-of-the-server",
    }
    served = tmp_path / "served"
    server = Server(store, served, "--app-name", "basic-auth", environment=environment)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.usefixtures("any_gate")
def test_a_user_who_may_not_write_reads_one_line_and_leaves_nothing(
    command: Command,
    micro: list[str],
    store: str,
    guarded: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    host = guarded.address.removeprefix("http://")
    admin = f"http://admin:{SECRET}-of-the-admin@{host}"
    reader = f"http://reader:{SECRET}-of-the-reader@{host}"
    typed = [item for item in micro if not item.startswith(DROPPED)]
    typed += ["qat=none", "tracking=server", *SHORT, *TIMED]
    assert command(*typed, f"tracking.tracking_uri={admin}").code == 0
    user = {"username": "reader", "password": f"{SECRET}-of-the-reader"}
    requests.post(f"{admin}/api/2.0/mlflow/users/create", json=user, timeout=60).raise_for_status()

    inside = MlflowClient(store)
    (run,) = inside.search_runs(["1"])
    for sweep in ([], ["-m", "trainer.seed=1,2"]):
        output = command(*sweep, *typed, f"tracking.tracking_uri={reader}")
        assert output.code == 2
        assert f"{host} cannot be used: its user may not do this" in output.error
        assert SECRET not in output.out + output.err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", reader)
    assert compare.main(["--experiment", "int8-text-classifiers"]) == 0
    assert promote.main([run.info.run_id, "--gate", "any"]) == 2
    assert "its user may not do this" in capfd.readouterr().err
    (again,) = inside.search_runs(["1"])
    assert again.to_dictionary() == run.to_dictionary()
    assert not inside.search_registered_models()
    assert not inside.search_model_versions()
    output = command(*typed, f"tracking.tracking_uri=http://reader:wrong@{host}")
    assert output.code == 2
    assert "it does not know this user and password" in output.error
