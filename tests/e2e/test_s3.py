"""Runs whose artifacts are in an S3-like store, which MLflow's own client writes to."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from mlflow.tracking import MlflowClient
from moto.server import ThreadedMotoServer

from pipeline import predict
from tests.conftest import Output

Command = Callable[..., Output]
KEY, SECRET = "AKIAEXAMPLEEXAMPLE00", "hunter2hunter2hunter2"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on this machine, with credentials in the environment."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # which keeps the credentials
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="team")
    try:
        yield "s3://team"
    finally:
        server.stop()


@pytest.fixture
def to_s3(micro: list[str]) -> list[str]:
    """Overrides of a small run without a place for its artifacts."""
    dropped = ("tracking.artifact_location", "export=")
    kept = [item for item in micro if not item.startswith(dropped)]
    return [*kept, "qat=none", "trainer.max_steps=2", "export.formats=[onnx_fp32]"]


def test_a_run_stores_in_s3_is_read_back_and_shows_no_credentials(
    command: Command,
    to_s3: list[str],
    store: str,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = command(*to_s3, f"tracking.artifact_location={bucket}/runs")
    assert output.code == 0, output.err
    client = MlflowClient(store)
    (run,) = client.search_runs(["1"])
    assert run.info.artifact_uri.startswith(f"{bucket}/runs/")
    files = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    stored = [file.read_bytes().decode(errors="replace") for file in files.rglob("*.*")]
    assert len(stored) > 10
    told = "\n".join([output.out, output.err, str(run.to_dictionary()), *stored])
    assert KEY not in told
    assert SECRET not in told
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert predict.main(["--model", run.info.run_id, "snow and ice"]) == 0
    assert '"label"' in capfd.readouterr().out


@pytest.mark.parametrize(
    ("place", "without", "said"),
    [
        ("s3://nowhere", (), "NoSuchBucket"),
        ("s3://team", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "credentials"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_does_not_take_it_is_one_line_at_once(
    command: Command,
    to_s3: list[str],
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    without: tuple[str, ...],
    said: str,
) -> None:
    for name in without:
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    output = command(*to_s3, f"tracking.artifact_location={place}")
    assert output.code == 2
    assert said in output.error
    (run,) = MlflowClient(store).search_runs(["1"])
    assert (run.info.status, said in run.data.tags["failure"]) == ("FAILED", True)
