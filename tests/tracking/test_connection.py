import io
import shlex
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.config.schema import TrackingConfig
from pipeline.errors import PipelineError
from pipeline.names import PARENT_TAG
from pipeline.tracking import connection
from pipeline.tracking.connection import _check_location, open_experiment, ui_address
from pipeline.tracking.liveness import process_tags
from pipeline.tracking.patience import Patience

ROOT = Path(__file__).parents[2]


def test_processes_that_start_at_once_create_one_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    program = (
        "import sys; from pipeline.tracking.connection import _prepared; _prepared(sys.argv[1])"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, uri], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert MlflowClient(uri).search_experiments()[0].name == "Default"


def test_an_experiment_is_created_once_and_opened_again(tmp_path: Path, store: str) -> None:
    config = TrackingConfig(store, artifact_location=str(tmp_path / "artifacts"))
    first, second = open_experiment(config), open_experiment(config)
    assert first.experiment_id == second.experiment_id
    experiment = first.client.get_experiment(first.experiment_id)
    assert experiment.artifact_location == (tmp_path / "artifacts").as_uri()
    assert "comparison.html" in experiment.tags["mlflow.note.content"]


def test_artifacts_may_lie_in_the_home_folder(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    opened = open_experiment(TrackingConfig(store, artifact_location="~/artifacts"))
    experiment = opened.client.get_experiment(opened.experiment_id)
    assert experiment.artifact_location == (tmp_path / "artifacts").as_uri()


def test_a_deleted_experiment_comes_with_the_command_that_restores_it(store: str) -> None:
    config = TrackingConfig(store)
    first = open_experiment(config)
    first.client.delete_experiment(first.experiment_id)
    line = "experiment int8-text-classifiers is deleted in .*tracking.experiment_name=NAME"
    with pytest.raises(PipelineError, match=line) as caught:
        open_experiment(config)
    assert "\n" not in str(caught.value)
    command = str(caught.value).partition("restore it with: ")[2].partition("; or")[0]
    subprocess.run(command, shell=True, check=True, cwd=ROOT, capture_output=True)
    assert open_experiment(config).experiment_id == first.experiment_id


def test_a_store_in_a_place_that_cannot_be_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    uri = f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}"
    with pytest.raises(PipelineError, match="tracking store .* cannot be used") as caught:
        open_experiment(TrackingConfig(uri))
    assert "\n" not in str(caught.value)


def test_a_store_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_text("this is not SQLite, whatever its name says " * 50)
    with pytest.raises(PipelineError, match="cannot be used"):
        open_experiment(TrackingConfig(f"sqlite:///{tmp_path / 'broken.db'}"))


def test_a_server_that_is_not_there_is_one_line_at_once() -> None:
    started = time.monotonic()
    line = r"http://\*\*\*@127.0.0.1:9 cannot be used: it does not answer"
    with pytest.raises(PipelineError, match=line) as caught:
        open_experiment(TrackingConfig("http://user:hunter2@127.0.0.1:9"))
    assert time.monotonic() - started < 5
    assert "hunter2" not in str(caught.value)


def test_a_run_that_ends_while_the_dead_are_looked_for_keeps_its_status(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_experiment(TrackingConfig(store))
    run_id = opened.client.create_run(opened.experiment_id).info.run_id

    def ends_now(tags: object) -> bool:
        opened.client.set_terminated(run_id, "FINISHED")
        return True

    monkeypatch.setattr(connection, "is_dead", ends_now)
    opened.mark_dead()
    run = opened.client.get_run(run_id)
    assert (run.info.status, run.data.tags.get("failure")) == ("FINISHED", None)


def test_the_jobs_whose_processes_an_interrupted_sweep_has_ended_are_killed(store: str) -> None:
    opened = open_experiment(TrackingConfig(store))
    own = process_tags()["process"].rpartition(" ")[0]
    gone = {"process": f"{own} 12345.00"}
    now = {"heartbeat": f"{time.time():.0f}"}
    job, stranger, alive, silent = (
        opened.client.create_run(opened.experiment_id, tags=tags).info.run_id
        for tags in (
            {**gone, **now, PARENT_TAG: "the sweep"},
            {**gone, **now},
            {**process_tags(), PARENT_TAG: "the sweep"},
            {**gone, "heartbeat": f"{time.time() - 3600:.0f}", PARENT_TAG: "the sweep"},
        )
    )
    opened.mark_dead(interrupted="the sweep")
    ended = [opened.client.get_run(run_id) for run_id in (job, stranger, alive, silent)]
    assert [(run.info.status, run.data.tags.get("failure")) for run in ended] == [
        ("KILLED", "interrupted"),
        ("FAILED", connection.ENDED_SILENTLY),
        ("RUNNING", None),
        ("FAILED", connection.ENDED_SILENTLY),
    ]


def test_what_a_dead_run_was_storing_is_deleted(tmp_path: Path, store: str) -> None:
    opened = open_experiment(TrackingConfig(store, artifact_location=str(tmp_path / "artifacts")))
    client, experiment = opened.client, opened.experiment_id
    own = process_tags()["process"].rpartition(" ")[0]
    run = client.create_run(experiment, tags={"process": f"{own} 12345.00"})
    run_id = run.info.run_id
    artifacts = tmp_path / "artifacts" / run_id / "artifacts"
    for name in ("fp32", "int8.part"):
        (artifacts / name).mkdir(parents=True)
    whole, half = (
        client.create_logged_model(experiment, name="model", source_run_id=run_id) for _ in range(2)
    )
    client.finalize_logged_model(whole.model_id, "READY")
    opened.mark_dead()
    assert client.get_run(run_id).info.status == "FAILED"
    assert [folder.name for folder in artifacts.iterdir()] == ["fp32"]
    models = client.search_logged_models([experiment])
    assert [model.model_id for model in models] == [whole.model_id]
    assert half.status == "PENDING"


def test_a_job_waits_for_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        asked.append(request.full_url)
        if len(asked) < 3:
            raise urllib.error.URLError("connection refused")
        return io.BytesIO(b"OK")

    monkeypatch.setattr("urllib.request.urlopen", answer)
    monkeypatch.setattr(connection, "Patience", partial(Patience, retry_s=0.01))
    connection._check_answers("http://127.0.0.1:5000", 60.0)
    assert asked == ["http://127.0.0.1:5000/health"] * 3


def test_a_server_with_a_certificate_of_its_own_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object, **__: object) -> None:
        raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed certificate"))

    monkeypatch.setattr("urllib.request.urlopen", answer)
    connection._check_answers("https://mlflow.example.com", 0.0)


def test_the_next_step_is_the_command_or_the_address_that_shows_the_run(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_experiment(TrackingConfig(store))
    step = opened.next_step("/#/there")
    assert step.startswith(f"MLFLOW_TRACKING_URI={shlex.quote(store)} ")
    assert step.endswith("python -m pipeline.ui")
    default = replace(opened, uri="sqlite:///mlruns/mlflow.db")
    monkeypatch.chdir(ROOT)
    assert default.next_step("/#/there") == "make ui"
    monkeypatch.chdir(ROOT / "docs")  # no Makefile here
    assert default.next_step("/#/there").endswith("python -m pipeline.ui")
    server = replace(opened, uri="http://user:secret@host:5000")
    assert server.next_step("/#/there") == "http://host:5000/#/there"
    assert ui_address("http://user:secret@host:5000/") == "http://host:5000"
    assert ui_address(store) == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("uri", "location", "said"),
    [
        (
            "http://team:5000",
            "mlruns/artifacts",
            "mlruns/artifacts is a folder below this one, .*: choose tracking=server, which",
        ),
        (
            "postgresql://me:secret@host/db",
            "mlruns/artifacts",
            r"the store postgresql://\*\*\*@host",
        ),
        ("postgresql+psycopg2://host/db", None, "tracking.artifact_location is missing, .*: give"),
        ("http://team:5000", None, ""),
        ("http://team:5000", "/shared/artifacts", ""),
        ("postgresql://host/db", "s3://bucket/runs", ""),
        ("sqlite:///mlruns/mlflow.db", "mlruns/artifacts", ""),
    ],
)
def test_a_shared_store_is_given_no_folder_that_one_machine_has(
    uri: str, location: str | None, said: str
) -> None:
    config = TrackingConfig(uri, artifact_location=location)
    if said:
        with pytest.raises(PipelineError, match=said):
            _check_location(config)
    else:
        _check_location(config)


def test_a_run_says_that_it_does_not_use_the_variable_of_another_store(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.tracking.store.URI_AT_START", "http://team:5000")
    for _ in range(2):
        open_experiment(TrackingConfig(store))
    (line,) = [each.message for each in caplog.records if "MLFLOW_TRACKING_URI" in each.message]
    assert line == (
        f"MLFLOW_TRACKING_URI names another store and is not used: runs go to {store}; "
        "tracking=server reads it"
    )
