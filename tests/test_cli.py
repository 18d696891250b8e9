import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.cli import _output_to
from tests.conftest import Output

Command = Callable[..., Output]
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("typed", "found", "accepted"),
    [
        ("qat=dirct", "qat=dirct is unknown", "did you mean direct?"),
        ("dataset=emotions", "dataset=emotions is unknown", "did you mean emotion?"),
        ("experiment=quikstart", "experiment=quikstart is unknown", "did you mean quickstart?"),
        ("modle=bert_tiny", "modle is unknown", "did you mean model"),
        ("trainer.learning_rat=1", "trainer.learning_rat is unknown", "did you mean learning_rate"),
        ("datset.max_length=64", "datset is unknown", "did you mean dataset"),
        (
            "qat.phases.qat.learnin_rate=1",
            "qat.phases.qat.learnin_rate is unknown",
            "did you mean learning_rate",
        ),
        ("+trainer.fp16=true", "trainer.fp16 is unknown", "did you mean bf16?"),
        ("trainer.learning_rate=fast", "trainer.learning_rate", "'fast'"),
        ("trainer.num_train_epochs=[1]", "trainer.num_train_epochs", "[1]"),
        ("dataset.padding=left", "dataset.padding", "left"),
        ("trainer.optim=adam", "trainer.optim", "adam"),
        ("dataset.data_dir=nowhere", "dataset.data_dir=nowhere", "does not exist"),
        ("trainer.learning_rate=", "trainer.learning_rate", "''"),
        ("learning_rate", "'learning_rate'", "KEY=VALUE"),
        ("dataset.data_dir=/a=b", "'dataset.data_dir=/a=b'", "'dataset.data_dir=\"/a=b\"'"),
    ],
)
def test_a_mistyped_argument_is_one_line_that_names_it_and_what_is_taken(
    command: Command, typed: str, found: str, accepted: str
) -> None:
    output = command(typed)
    assert output.code == 2
    assert output.out == ""
    assert found in output.error
    assert accepted in output.error


def test_a_mistake_in_a_sweep_is_one_line_too(command: Command) -> None:
    output = command("-m", "qat=none,dirct")
    assert (output.code, "qat=dirct is unknown; did you mean direct?" in output.error) == (2, True)


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_launcher_that_is_not_installed_is_one_line(command: Command) -> None:
    output = command("-m", "hydra/launcher=ray", "trainer.seed=1,2")
    assert output.code == 2
    assert "hydra/launcher=ray needs ray" in output.error
    assert "pip install -e '.[ray]'" in output.error


def test_one_of_several_processes_of_torchrun_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    output = command("experiment=quickstart", "dataset.data_dir=nowhere")
    assert (output.code, output.out) == (2, "")
    assert "WORLD_SIZE=2, as torchrun sets it" in output.error


def test_paths_mean_the_same_in_whichever_folder_hydra_runs_a_job(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus").mkdir()
    folders = ("hydra.job.chdir=true", f"hydra.run.dir={tmp_path}/elsewhere")
    output = command(*folders, "dataset=files", "dataset.data_dir=corpus", "model=minilm")
    assert "model.name_or_path=assets/minilm is not a directory" in output.error, (
        "the corpus was found, which is checked before the model"
    )


def test_what_a_job_leaves_in_its_file_holds_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    file = tmp_path / "job.log"
    with pytest.raises(RuntimeError), _output_to(file):
        raise RuntimeError("postgresql://user:pa/ss@host/db is away")
    written = file.read_text(encoding="utf-8")
    assert "RuntimeError: postgresql://***@host/db is away" in written
    assert "Traceback" in written


def test_the_full_traceback_is_there_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "dataset.data_dir=nowhere"],
        env={"HYDRA_FULL_ERROR": "1", "PATH": "/usr/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_help_teaches_and_an_error_of_a_config_or_table_needs_no_heavy_libraries(
    tmp_path: Path,
) -> None:
    program = """
import sys
from pipeline import cli
sys.argv = ["pipeline", sys.argv[1]]
try:
    cli.main()
except SystemExit:
    pass
heavy = {"torch", "transformers", "optimum", "neural_compressor", "mlflow", "datasets", "evaluate"}
heavy &= set(sys.modules)
assert not heavy, heavy
"""
    table = tmp_path / "rows.csv"
    table.write_text("text,lable\na,x\n", encoding="utf-8")
    for argument in (
        "--help",
        "trainer.learning_rat=1",
        "dataset.data_dir=nowhere",
        f"dataset.train_file={table}",
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, argument],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if argument == "--help":
            for taught in (
                "experiment=quickstart",
                "qat: direct, finetune_then_qat, none",
                "trainer:",
                "warmup_ratio: 0.1",
            ):
                assert taught in done.stdout


@pytest.mark.parametrize(
    ("typed", "accepted"),
    [
        (["baseline=none", "baseline.C=3"], "no baseline; choose one: baseline=linear."),
        (
            ["pruning.pattern=1x1"],
            "no pruning; choose one: +pruning=magnitude, +pruning=snip_momentum.",
        ),
    ],
)
def test_a_key_of_a_group_that_the_run_does_not_have_is_told_with_the_way_to_it(
    command: Command, typed: list[str], accepted: str
) -> None:
    output = command(*typed)
    assert (output.code, output.error) == (2, f"error: {typed[-1]}: this run has {accepted}")
