import os
import signal
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.config.identity import config_hash, flatten
from pipeline.config.objectives import promised_figures
from pipeline.config.schema import (
    Config,
    DatasetConfig,
    ModelConfig,
    PhaseConfig,
    QatConfig,
    TrackingConfig,
    TrainerConfig,
)
from pipeline.data.corpus import load_corpus
from pipeline.errors import JobPrunedError, PipelineError
from pipeline.tracking import ending
from pipeline.tracking import tracker as tracker_module
from pipeline.tracking.patience import Patience
from pipeline.tracking.tracker import RunInput, open_run


@pytest.fixture
def config(tmp_path: Path, store: str) -> Config:
    return Config(
        ModelConfig("owner/bert-micro", num_hidden_layers=2),
        DatasetConfig(name="micro", path="owner/micro", label_names=["cold", "hot"]),
        QatConfig("direct", {"qat": PhaseConfig(quantize=True)}),
        TrainerConfig(learning_rate=3e-4),
        tracking=TrackingConfig(store, artifact_location=str(tmp_path / "artifacts")),
    )


@pytest.fixture
def logged(store: str) -> Callable[[], Run]:
    """The only run in the store."""

    def find() -> Run:
        client = MlflowClient(store)
        runs = client.search_runs(
            [experiment.experiment_id for experiment in client.search_experiments()]
        )
        assert len(runs) == 1
        return runs[0]

    return find


def test_a_block_that_ends_leaves_a_finished_run_with_its_config(
    config: Config, logged: Callable[[], Run]
) -> None:
    with open_run(config) as tracker:
        tracker.log_figures({"int8/accuracy": 0.9})
    run = logged()
    assert run.info.status == "FINISHED"
    assert run.info.run_name == tracker.name == "bert-micro-2L·micro·direct·lr3e-4"
    assert run.data.metrics == {"int8/accuracy": 0.9}
    assert run.data.params == flatten(config)
    assert run.data.params["qat.phases.qat.quantize"] == "True"
    assert run.data.tags["config.hash"] == config_hash(config)
    assert run.data.tags["version.neural-compressor"] == "3.7.1"
    assert {"cpu.model", "git.commit", "mlflow.note.content"} <= set(run.data.tags)
    written = yaml.safe_load(Path(tracker.local_artifacts, "config", "config.yaml").read_text())
    assert written["model"]["name_or_path"] == "owner/bert-micro"
    packages = Path(tracker.local_artifacts, "config", "packages.txt").read_text()
    assert f"\nhydra-core=={version('hydra-core')}\n" in packages


@pytest.mark.parametrize(
    ("raised", "status", "reason"),
    [
        (PipelineError("the loss became nan"), "FAILED", "the loss became nan"),
        (
            ZeroDivisionError("division by zero\nsecond line"),
            "FAILED",
            "ZeroDivisionError: division by zero",
        ),
        (KeyboardInterrupt(), "KILLED", "interrupted"),
        (JobPrunedError("validation accuracy 0.1 is below the median"), "KILLED", None),
    ],
)
def test_a_block_that_raises_leaves_a_run_with_its_true_status_and_reason(
    config: Config,
    logged: Callable[[], Run],
    raised: BaseException,
    status: str,
    reason: str | None,
) -> None:
    with pytest.raises(type(raised)), open_run(config) as tracker:
        tracker.log_curves({"train/loss": 1.0}, 3)
        raise raised
    run = logged()
    assert (run.info.status, run.data.tags.get("failure")) == (status, reason)
    assert run.data.tags.get("pruned") == (str(raised) if reason is None else None)
    assert run.data.metrics == {"train/loss": 1.0}, "what was buffered is not lost"
    assert mlflow.active_run() is None


def test_a_run_that_a_signal_ends_is_killed_whatever_a_library_makes_of_it(
    config: Config, logged: Callable[[], Run], own_handlers: None
) -> None:
    with pytest.raises(KeyboardInterrupt), open_run(config):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError("the worker is gone") from None
    run = logged()
    assert (run.info.status, run.data.tags["failure"]) == ("KILLED", "interrupted")


def test_a_run_is_a_new_run_whatever_the_environment_says(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_run(config) as first:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", first.run_id)
    with open_run(config) as second:
        assert second.run_id != first.run_id
    assert mlflow.get_run(first.run_id).info.status == "FINISHED"


def test_every_point_of_a_curve_arrives_in_few_batches(
    config: Config, logged: Callable[[], Run], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    original = MlflowClient.log_batch

    def counted(self: MlflowClient, run_id: str, metrics: tuple = (), **options: object) -> object:
        batches.append(len(metrics))
        return original(self, run_id, metrics=metrics, **options)

    with open_run(config) as tracker:
        monkeypatch.setattr(MlflowClient, "log_batch", counted)
        for step in range(600):
            tracker.log_curves(
                {"train/loss": 1 / (step + 1), "train/learning_rate": step / 600}, step
            )
    assert sum(batches) == 1200
    assert len(batches) <= 3
    history = MlflowClient(store).get_metric_history(logged().info.run_id, "train/loss")
    assert [point.step for point in history] == list(range(600))
    assert history[9].value == pytest.approx(0.1)


def test_the_splits_are_logged_as_inputs_with_their_digest(
    config: Config, logged: Callable[[], Run], micro_corpus: Path
) -> None:
    corpus = load_corpus(DatasetConfig(name="micro", data_dir=str(micro_corpus)))
    with open_run(config) as tracker:
        tracker.log_inputs(
            [
                RunInput(split, rows, f"micro-{split}", corpus.digests[split], corpus.source)
                for split, rows in corpus.splits.items()
            ]
        )
    inputs = {item.dataset.name: item for item in logged().inputs.dataset_inputs}
    assert set(inputs) == {"micro-train", "micro-validation", "micro-test"}
    assert inputs["micro-test"].dataset.digest == corpus.digests["test"]
    assert {tag.key: tag.value for tag in inputs["micro-test"].tags}[
        "mlflow.data.context"
    ] == "testing"


def test_a_folder_is_stored_and_found_again(config: Config, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/a.txt").write_text("a")
    with open_run(config) as tracker:
        stored = tracker.log_folder(tmp_path / "reports", "reports")
    assert (stored / "a.txt").read_text() == "a"
    assert stored != tmp_path / "reports"


def test_a_figure_that_no_objective_can_name_is_refused(config: Config) -> None:
    with (
        pytest.raises(ValueError, match="int8/acuracy is not in config.objectives"),
        open_run(config) as tracker,
    ):
        tracker.log_figures({"int8/acuracy": 0.9})


def test_a_run_that_lacks_a_promised_figure_fails(
    config: Config, logged: Callable[[], Run]
) -> None:
    figures = dict.fromkeys(promised_figures(config), 0.5)
    with open_run(config) as tracker:
        tracker.log_figures({**figures, "corpus/train_rows": 100.0})
        tracker.check_promised(["config"])
    assert logged().data.metrics.keys() == {*figures, "corpus/train_rows"}
    del figures["int8/f1_macro"]
    with (
        pytest.raises(PipelineError, match="lacks the figures it promises: int8/f1_macro"),
        open_run(config) as tracker,
    ):
        tracker.log_figures(figures)
        tracker.check_promised(["config"])


def test_a_run_that_lacks_what_it_promised_fails(config: Config, logged: Callable[[], Run]) -> None:
    with (
        pytest.raises(PipelineError, match="lacks the artifacts it promises: int8"),
        open_run(config) as tracker,
    ):
        tracker.check_promised(("config", "int8"))
    assert logged().info.status == "FAILED"


def test_an_artifact_that_cannot_be_stored_whole_is_not_left_in_part(
    config: Config, logged: Callable[[], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8/weights").write_text("w")

    def full(self: MlflowClient, run_id: str, local_dir: str, artifact_path: str) -> None:
        target = Path(tracker.local_artifacts, artifact_path)
        target.mkdir(parents=True)
        (target / "weights").touch()
        raise OSError(28, "No space left on device")

    with pytest.raises(PipelineError, match="No space left on device"), open_run(config) as tracker:
        monkeypatch.setattr(MlflowClient, "log_artifacts", full)
        tracker.log_folder(tmp_path / "int8", "int8")
    assert logged().info.status == "FAILED"
    assert not Path(tracker.local_artifacts, "int8").exists()


def test_no_password_reaches_the_store(
    config: Config, logged: Callable[[], Run], micro_corpus: Path
) -> None:
    source = "https://user:hunter2@example.org/train.csv?token=hunter2"
    shown = "https://***@example.org/train.csv?token=***"
    config.dataset.train_file = source
    rows = load_corpus(DatasetConfig(name="micro", data_dir=str(micro_corpus))).splits["train"]
    with pytest.raises(RuntimeError), open_run(config) as tracker:
        tracker.log_inputs([RunInput("train", rows, "micro-train", "0123", source)])
        raise RuntimeError(f"{source} is gone")
    run = logged()
    assert "hunter2" not in str(run.to_dictionary())
    assert run.data.tags["failure"] == f"RuntimeError: {shown} is gone"
    assert shown in {tag.value for tag in run.inputs.dataset_inputs[0].tags}
    for file in Path(tracker.local_artifacts).rglob("*"):
        assert file.is_dir() or "hunter2" not in file.read_text()


def test_a_run_that_was_taken_for_dead_and_finishes_has_no_failure(
    config: Config, logged: Callable[[], Run]
) -> None:
    with open_run(config) as tracker:
        client = MlflowClient()
        client.set_tag(tracker.run_id, "failure", "its process ended without a message")
        client.set_terminated(tracker.run_id, "FAILED")
    run = logged()
    assert (run.info.status, run.data.tags.get("failure")) == ("FINISHED", None)


def test_ctrl_c_does_not_wait_long_for_a_store_that_is_away(
    config: Config, logged: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise MlflowException("connection refused")

    monkeypatch.setattr(ending, "last_seconds", lambda _: 0.5)
    monkeypatch.setattr(tracker_module, "Patience", partial(Patience, retry_s=0.02))
    started = time.monotonic()
    with monkeypatch.context() as patched:
        with pytest.raises(KeyboardInterrupt), open_run(config) as tracker:
            tracker.log_curves({"train/loss": 1.0}, 1)
            for name in ("log_batch", "set_tag", "set_terminated"):
                patched.setattr(MlflowClient, name, away)
            started = time.monotonic()
            raise KeyboardInterrupt
        assert 0.4 < time.monotonic() - started < 3
    assert logged().info.status == "RUNNING", "nobody could be told"
    assert mlflow.active_run() is None
