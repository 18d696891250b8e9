from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.config.schema import TrackingConfig
from pipeline.errors import PipelineError
from pipeline.sweeps import parent_run
from pipeline.sweeps.parent_run import open_parent_run
from pipeline.sweeps.plan import Plan
from pipeline.sweeps.sweepers import _discrete_space
from pipeline.tracking.liveness import process_tags
from pipeline.tracking.patience import Patience


@pytest.fixture
def tracking(store: str, tmp_path: Path) -> TrackingConfig:
    return TrackingConfig(tracking_uri=store, artifact_location=str(tmp_path / "artifacts"))


def plan(space: dict[str, str], identity: str = "a") -> Plan:
    return Plan("a sweep", "python -m pipeline -m", space, ["loss"], identity)


def test_a_group_that_is_added_is_a_parameter_like_any_other(
    tracking: TrackingConfig, store: str
) -> None:
    typed = ["+pruning=magnitude,snip_momentum", "++trainer.seed=1,2", "db@to=a,b"]
    space = _discrete_space(OverridesParser.create().parse_overrides(typed))
    with open_parent_run(plan(space), tracking, fresh=False) as parent:
        params = MlflowClient(store).get_run(parent.run_id).data.params
    assert params["space.pruning"] == "magnitude,snip_momentum"
    assert params["space.trainer.seed"] == "1,2"
    assert params["space.db_to"] == "a,b"


def test_a_sweep_that_cannot_be_described_does_not_stay_running(
    tracking: TrackingConfig, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("no room for parameters")

    monkeypatch.setattr(MlflowClient, "log_batch", refuse)
    with (
        pytest.raises(PipelineError, match="no room for parameters"),
        open_parent_run(plan({}), tracking, fresh=False),
    ):
        pass
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(tracking.experiment_name)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert "no room" in run.data.tags["failure"]


def test_a_sweep_has_its_process_from_the_first_moment(
    tracking: TrackingConfig, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(parent_run, "_mark_running", killed)
    monkeypatch.setattr(parent_run, "_close_early", lambda *_: None)
    with pytest.raises(SystemExit), open_parent_run(plan({}), tracking, fresh=False):
        pass
    client = MlflowClient(store)
    (run,) = client.search_runs(["1"])
    assert run.info.status == "RUNNING"
    assert {"process", "heartbeat"} <= run.data.tags.keys()


def test_a_sweep_whose_start_the_store_refuses_does_not_stay_running(
    tracking: TrackingConfig, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise MlflowException("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(parent_run, "_mark_running", locked)
        with (
            pytest.raises(PipelineError, match="database is locked"),
            open_parent_run(plan({}), tracking, fresh=False),
        ):
            pass
    (run,) = MlflowClient(store).search_runs(["1"])
    assert run.info.status == "FAILED"
    with open_parent_run(plan({}), tracking, fresh=False) as parent:
        assert parent.run_id == run.info.run_id


def test_a_sweep_that_was_taken_for_dead_ends_without_a_failure(
    tracking: TrackingConfig, store: str
) -> None:
    client = MlflowClient(store)
    with open_parent_run(plan({}), tracking, fresh=False) as parent:
        client.set_terminated(parent.run_id, "FAILED")
        client.set_tag(parent.run_id, "failure", "its process ended without a message")
    run = client.get_run(parent.run_id)
    assert (run.info.status, run.data.tags.get("failure")) == ("FINISHED", None)


def test_no_password_reaches_the_store(tracking: TrackingConfig, store: str) -> None:
    source = "https://user:hunter2@example.org/train.csv"
    with (
        pytest.raises(RuntimeError),
        open_parent_run(plan({"dataset.train_file": source}), tracking, fresh=False) as parent,
    ):
        raise RuntimeError(f"{source} is gone")
    run = MlflowClient(store).get_run(parent.run_id)
    assert "hunter2" not in str(run.to_dictionary())
    assert run.data.tags["failure"] == "RuntimeError: https://***@example.org/train.csv is gone"


def test_a_sweep_runs_once_at_a_time_in_a_store_however_the_store_is_named(
    tracking: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = TrackingConfig(
        tracking_uri="sqlite:///mlflow.db", artifact_location=tracking.artifact_location
    )
    with (
        open_parent_run(plan({}), tracking, fresh=False),
        pytest.raises(PipelineError, match="running already on this machine"),
        open_parent_run(plan({}), relative, fresh=False),
    ):
        pass
    assert [lock.parent.name for lock in tmp_path.rglob("[!.]*.lock")] == [".locks"]
    with (
        open_parent_run(plan({}), tracking, fresh=False) as first,
        open_parent_run(plan({}), tracking, fresh=True) as second,
        open_parent_run(plan({}), tracking, fresh=True) as third,
    ):
        assert len({first.run_id, second.run_id, third.run_id}) == 3


def test_a_sweep_has_ended_with_its_process_and_one_of_another_store_has_not(
    tracking: TrackingConfig, store: str
) -> None:
    client = MlflowClient(store)
    alive = client.create_run("0", tags=process_tags()).info.run_id
    dead = client.create_run(
        "0", tags={**process_tags(), "process": "elsewhere 1 0", "heartbeat": "0"}
    )
    with open_parent_run(plan({}), tracking, fresh=False) as parent:
        ended = {run_id: parent.has_ended(run_id) for run_id in (alive, dead.info.run_id, "0" * 32)}
    assert list(ended.values()) == [False, True, False]


def test_a_sweep_waits_for_a_store_that_is_away(
    tracking: TrackingConfig, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: set[str] = set()

    def first_fails(name: str) -> Callable[..., object]:
        original = getattr(MlflowClient, name)

        def request(self: MlflowClient, *args: object, **options: object) -> object:
            if name not in failed:
                failed.add(name)
                raise MlflowException("connection refused")
            return original(self, *args, **options)

        return request

    monkeypatch.setattr(parent_run, "Patience", partial(Patience, retry_s=0.01))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "comparison.csv").touch()
    names = ("search_runs", "log_batch", "log_artifacts", "set_terminated")
    with (
        monkeypatch.context() as patched,
        open_parent_run(plan({}), tracking, fresh=False) as parent,
    ):
        for name in names:
            patched.setattr(MlflowClient, name, first_fails(name))
        assert parent.children.read() == []
        parent.log_progress({"done": 1}, None, ["loss"])
        parent.log_files(tmp_path / "files")
    client = MlflowClient(store)
    run = client.get_run(parent.run_id)
    assert failed == set(names)
    assert (run.info.status, run.data.metrics["jobs/done"]) == ("FINISHED", 1)
    assert [file.path for file in client.list_artifacts(parent.run_id)] == ["comparison.csv"]
