"""What others can write to the store, damaged or meant to harm, in a copy of a finished run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import bench, predict, promote, report, serve
from pipeline.names import CHAMPION
from tests.conftest import Output
from tests.e2e.conftest import Deployed
from tests.test_serve import set_trap


@pytest.fixture
def shipped(own_artifacts: Path, deployed: Deployed) -> list[Path]:
    """The shipped directory, as an artifact of the run and in its MLflow model."""
    variant = deployed.run.data.tags["shipped"]
    (packed,) = own_artifacts.glob(f"models/*/artifacts/artifacts/{variant}")
    return [own_artifacts / deployed.run.info.run_id / "artifacts" / variant, packed]


def one_line(captured: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in captured.readouterr().err.splitlines() if "error: " in line]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.usefixtures("any_gate")
@pytest.mark.parametrize(
    ("name", "kept"), [("model", 0.5), ("tokenizer.json", 0), ("config.json", 0.5)]
)
def test_a_damaged_artifact_is_named_by_every_command(
    deployed: Deployed,
    shipped: list[Path],
    capsys: pytest.CaptureFixture[str],
    name: str,
    kept: float,
) -> None:
    for folder in shipped:
        (file,) = (
            [*folder.glob("model.onnx"), *folder.glob("openvino_model.xml")]
            if name == "model"
            else [folder / name]
        )
        content = file.read_bytes()
        file.write_bytes(content[: int(kept * len(content))])
    run_id = deployed.run.info.run_id
    capsys.readouterr()
    commands = [
        (predict.main, ["--model", run_id, "rain"]),
        (serve.main, ["--model", run_id]),
        (promote.main, [run_id, "--gate", "any"]),
    ]
    if name == "model":  # its processes take their time to start
        commands += [(bench.main, [run_id, "--repetitions", "1", "--seconds", "0.01"])]
    for main, arguments in commands:
        assert main(arguments) == 2, main
        assert file.name in one_line(capsys), main
    for folder in shipped:
        (folder / file.name).unlink()
    assert predict.main(["--model", run_id, "rain"]) == 2
    assert file.name in one_line(capsys)


@pytest.mark.usefixtures("any_gate")
def test_code_in_a_promoted_model_never_runs(
    deployed: Deployed, own_artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (packed,) = own_artifacts.glob("models/*/artifacts")
    proof = tmp_path / "proof"
    set_trap(packed, proof)
    assert promote.main([deployed.run.info.run_id, "--gate", "any"]) == 0
    assert predict.main(["--model", CHAMPION, "rain and flood"]) == 0
    assert not proof.exists()


def test_no_command_resolves_what_a_logged_config_asks_of_the_environment(
    deployed: Deployed,
    own_store: str,
    own_artifacts: Path,
    command: Callable[..., Output],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    (file,) = own_artifacts.glob("*/artifacts/config/config.yaml")
    lines = file.read_text(encoding="utf-8").splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("  data_dir: "))
    lines[place] = "  data_dir: ${oc.env:SECRET}"
    file.write_text("\n".join(lines), encoding="utf-8")
    run_id = deployed.run.info.run_id
    assert bench.main([run_id]) == 2
    line = one_line(capfd)
    assert "dataset.data_dir=${oc.env:SECRET} is not a directory" in line
    assert "hunter2" not in line
    report.main([run_id, "--output", str(own_artifacts / "report.html")])
    assert "hunter2" not in capfd.readouterr().out + (own_artifacts / "report.html").read_text()
    again = command(f"rerun={run_id}", f"tracking.tracking_uri={own_store}")
    assert again.code == 2
    assert "dataset.data_dir=${oc.env:SECRET} does not exist" in again.error
    assert "hunter2" not in again.out + again.err
