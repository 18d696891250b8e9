"""Runs whose store is away for a while, loses its answers, has no room or is read-only."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.config.schema import Config, DatasetConfig, TrackingConfig
from pipeline.data.corpus import load_corpus
from pipeline.inference.classifier import TextClassifier
from pipeline.tracking import tracker as tracker_module
from pipeline.tracking.locate_model import model_directory
from pipeline.tracking.patience import Patience
from pipeline.tracking.tracker import RunInput, Tracker, open_run
from tests.conftest import Output
from tests.e2e.conftest import Deployed
from tests.e2e.processes import PATIENCE_S
from tests.e2e.servers import Server

Command = Callable[..., Output]
ROOT = Path(__file__).parents[2]
SENDING = (
    "log_batch",
    "set_tag",
    "log_artifacts",
    "log_inputs",
    "_create_logged_model",
    "log_outputs",
    "log_model_artifacts",
    "set_terminated",
)
AWAY = "the tracking store does not answer; what the run logs is kept and sent again"
BACK = "the tracking store answers again"
AWAY_SECONDS = float(os.environ.get("AWAY_SECONDS", "1"))  # each time; 120 was run by hand


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again after a moment."""
    monkeypatch.setattr(tracker_module, "Patience", partial(Patience, retry_s=0.02))


@pytest.fixture
def config(tmp_path: Path, store: str) -> Config:
    tracking = TrackingConfig(store, artifact_location=str(tmp_path / "artifacts"))
    return Config(tracking=tracking, dataset=DatasetConfig(name="micro", path="owner/micro"))


def log_everything(tracker: Tracker, deployed: Deployed, corpus: Path) -> None:
    """Log what a run logs: inputs, curves, a folder and the model."""
    loaded = load_corpus(DatasetConfig(name="micro", data_dir=str(corpus)))
    digests, source = loaded.digests, loaded.source
    tracker.log_inputs(
        RunInput(split, rows, f"micro-{split}", digests[split], source)
        for split, rows in loaded.splits.items()
    )
    tracker.log_tags({"model.commit": "a" * 40})
    for step in range(5):
        tracker.log_curves({"train/loss": 1.0}, step)
    model = deployed.artifacts / "onnx_int8"
    tracker.log_folder(model, "onnx_int8")
    tracker.log_model(model, "onnx_int8", ["snow and ice"])


def models(client: MlflowClient, run: Run) -> list[mlflow.entities.LoggedModel]:
    return list(client.search_logged_models([run.info.experiment_id]))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_taken", [True, False], ids=["its answer is lost", "it is not taken"])
def test_whatever_a_run_sends_arrives_once_though_each_request_fails_first(
    config: Config,
    deployed: Deployed,
    micro_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_taken: bool,
) -> None:
    failed: Counter[str] = Counter()

    def first_fails(name: str) -> Callable[..., object]:
        original = getattr(MlflowClient, name)

        def request(self: MlflowClient, *args: object, **options: object) -> object:
            failed[name] += 1
            if failed[name] > 1:
                return original(self, *args, **options)
            if is_taken:
                original(self, *args, **options)
            raise MlflowException("connection reset")

        return request

    with monkeypatch.context() as patched:
        for name in SENDING:
            patched.setattr(MlflowClient, name, first_fails(name))
        with open_run(config) as tracker:
            log_everything(tracker, deployed, micro_corpus)
    assert set(failed) == set(SENDING)
    assert min(failed.values()) > 1

    client = MlflowClient()
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.data.tags.get("failure")) == ("FINISHED", None)
    assert run.data.tags["shipped"] == "onnx_int8"
    history = client.get_metric_history(tracker.run_id, "train/loss")
    assert [point.step for point in history] == [0, 1, 2, 3, 4]
    assert len(run.inputs.dataset_inputs) == 3
    assert {file.path for file in client.list_artifacts(tracker.run_id)} >= {"config", "onnx_int8"}
    (model,) = models(client, run)
    assert model.status == "READY"
    folders = list((Path(tracker.local_artifacts).parents[1] / "models").iterdir())
    assert [folder.name for folder in folders if any(folder.iterdir())] == [model.model_id]
    classifier = TextClassifier(model_directory(tracker.run_id))
    assert len(classifier.logits(["snow and ice"])) == 1
    said = [record.message for record in caplog.records if "tracking store" in record.message]
    assert said == [AWAY, BACK] * (len(said) // 2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("where", ["log_artifacts", "log_model_artifacts"])
def test_what_ends_in_the_middle_of_an_artifact_leaves_no_half_of_it(
    config: Config,
    deployed: Deployed,
    micro_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    error: BaseException,
) -> None:
    original = getattr(MlflowClient, where)

    def stop(self: MlflowClient, run_or_model: str, folder: str, *place: str) -> None:
        original(self, run_or_model, folder, *place)
        raise error

    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else Exception
    with pytest.raises(expected), open_run(config) as tracker:
        monkeypatch.setattr(MlflowClient, where, stop)
        log_everything(tracker, deployed, micro_corpus)
    client = MlflowClient()
    run = client.get_run(tracker.run_id)
    killed = isinstance(error, KeyboardInterrupt)
    assert run.info.status == ("KILLED" if killed else "FAILED")
    assert run.data.tags["failure"] == "interrupted" or "No space left" in run.data.tags["failure"]
    stored = {file.path for file in client.list_artifacts(tracker.run_id)}
    assert stored == ({"config"} if where == "log_artifacts" else {"config", "onnx_int8"})
    assert models(client, run) == []
    assert not list(Path(tracker.local_artifacts).parents[1].rglob("MLmodel"))


def test_a_run_whose_server_goes_away_again_and_again_loses_nothing(
    command: Command,
    micro: list[str],
    store: str,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outages: list[str] = []

    def first_goes_away(name: str) -> Callable[..., object]:
        original = getattr(MlflowClient, name)

        def request(self: MlflowClient, *args: str, **options: object) -> object:
            if name not in outages:
                outages.append(name)
                server.go_away_for(AWAY_SECONDS)
            return original(self, *args, **options)

        return request

    # The first artifact and the status at the end.
    for name in ("log_artifacts", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, first_goes_away(name))
    typed = [item for item in micro if not item.startswith(("tracking.", "export="))]
    typed += ["tracking=server", f"tracking.tracking_uri={server.address}", "trainer.max_steps=2"]
    output = command(*typed, "qat=none", "export.formats=[onnx_fp32]")
    assert output.code == 0, output.err
    assert len(outages) == output.err.count(AWAY) == output.err.count(BACK) == 2
    client = MlflowClient(store)
    (run,) = client.search_runs(["1"])
    assert (run.info.status, run.data.tags.get("failure")) == ("FINISHED", None)
    assert {"fp32/accuracy", "onnx_fp32/accuracy", "time/total_s"} <= set(run.data.metrics)
    served = {file.path for file in MlflowClient(server.address).list_artifacts(run.info.run_id)}
    assert served == {"config", "fp32", "onnx_fp32", "reports"}
    assert [model.status for model in models(client, run)] == ["READY"]


# Mounts of its own, for a folder with little room or one that is read-only, whoever runs the tests.
WITH_MOUNTS = ["unshare", "--map-root-user", "--mount", "sh", "-ec"]
can_mount = pytest.mark.skipif(
    subprocess.run([*WITH_MOUNTS, "mount -t tmpfs none /mnt"], check=False).returncode != 0,
    reason="mounts nothing",
)


def run_with(mounts: str, arguments: list[str], **environment: str) -> Output:
    """Run the pipeline after a line of shell that mounts something."""
    run = [*WITH_MOUNTS, f'{mounts}; exec "$@"', "sh", sys.executable, "-m", "pipeline"]
    done = subprocess.run(
        [*run, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return Output(done.returncode, done.stdout, done.stderr)


@can_mount
@pytest.mark.parametrize("full", ["checkpoints", "artifacts", "scratch"])
def test_a_full_disk_is_one_line_and_a_failed_run_without_halves(
    micro: list[str], store: str, tmp_path: Path, full: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    typed = [*micro, "qat=none", "trainer.max_steps=2"]
    environment = {}
    if full == "checkpoints":
        typed += [f"trainer.output_dir={disk}", "trainer.save_strategy=steps"]
        typed += ["trainer.save_steps=1"]
    elif full == "artifacts":
        typed += [f"tracking.artifact_location={disk}"]
    else:
        environment = {"TMPDIR": str(disk)}
    # Room for the config and the texts, and not for two models.
    output = run_with(f"mount -t tmpfs -o size=160k none {disk}", typed, **environment)
    assert output.code == 2
    # torch 2.13 says "unexpected pos" where others say what the system said.
    told = "a disk is full" if full == "checkpoints" else "No space left on device"
    assert told in output.error
    client = MlflowClient(store)
    (run,) = client.search_runs(["1"])
    assert run.info.status == "FAILED"
    assert told in run.data.tags["failure"]
    if full != "artifacts":
        assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"config"}


@can_mount
@pytest.mark.parametrize("sweeps", [[], ["-m", "trainer.seed=1,2"]])
def test_a_read_only_store_is_one_line_before_anything_is_trained(
    micro: list[str], store: str, tmp_path: Path, sweeps: list[str]
) -> None:
    mounts = f"mount --bind {tmp_path} {tmp_path}; mount -o remount,ro,bind {tmp_path}"
    output = run_with(mounts, [*micro, *sweeps, f"hydra.sweep.dir={tmp_path.parent}/sweep"])
    assert output.code == 2
    assert "cannot be used: " in output.error
    assert "Read-only file system" in output.error or "readonly database" in output.error
    assert MlflowClient(store).search_experiments(filter_string="name != 'Default'") == []
