"""The command line of the comparison, on a store with made-up runs."""

import csv
import io
import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline import compare


@pytest.fixture
def sweep(store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A sweep of three runs, one of them failed, and a run outside it; returns the sweep's id."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = MlflowClient(store)
    experiment = client.create_experiment("int8-text-classifiers")
    parent = client.create_run(experiment, tags={"sweep.key": "0123"}, run_name="sweep·recipes")
    client.log_param(parent.info.run_id, "objective", "accuracy")
    for recipe, accuracy, tags in (
        ("none", 0.9, {"mlflow.parentRunId": parent.info.run_id}),
        ("direct", 0.8, {"mlflow.parentRunId": parent.info.run_id}),
        (
            "failing",
            None,
            {"mlflow.parentRunId": parent.info.run_id, "failure": "the loss became nan"},
        ),
        ("outside", 0.7, {}),
    ):
        run = client.create_run(experiment, tags=tags, run_name=recipe)
        client.log_param(run.info.run_id, "qat.name", recipe)
        client.log_param(run.info.run_id, "trainer.seed", 1)
        if accuracy is not None:
            client.log_metric(run.info.run_id, "accuracy", accuracy)
            client.log_metric(run.info.run_id, "loss", 1 - accuracy)
        client.set_terminated(run.info.run_id, "FINISHED" if accuracy is not None else "FAILED")
    return parent.info.run_id


def names(text: str) -> list[str]:
    return [line["run"] for line in csv.DictReader(io.StringIO(text))]


@pytest.mark.parametrize("reference", ["latest", "sweep·recipes", None])
def test_a_sweep_is_found_by_id_by_name_and_as_the_latest(
    sweep: str, capsys: pytest.CaptureFixture[str], reference: str | None
) -> None:
    assert compare.main(["--sweep", reference or sweep, "--format", "csv"]) == 0
    assert names(capsys.readouterr().out) == ["none", "direct", "failing"]


def test_a_csv_holds_no_formula(sweep: str, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    client = MlflowClient(store)
    run = client.get_run(sweep)
    named = client.create_run(
        run.info.experiment_id,
        tags={"mlflow.parentRunId": sweep, "failure": "@SUM(A1)"},
        run_name="=HYPERLINK()",
    )
    client.set_terminated(named.info.run_id, "FAILED")
    assert compare.main(["--sweep", sweep, "--format", "csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    cells = [cell for row in rows for cell in row]
    assert "'=HYPERLINK()" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]


@pytest.mark.usefixtures("sweep")
def test_without_a_sweep_all_runs_but_parents_are_compared_and_a_filter_narrows_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert compare.main(["--format", "csv"]) == 0  # runs of 0.1.0 have no validation accuracy
    assert names(capsys.readouterr().out) == ["none", "direct", "outside", "failing"]
    assert compare.main(["--format", "csv", "--metric", "loss"]) == 0
    assert names(capsys.readouterr().out) == ["none", "direct", "outside", "failing"]
    assert compare.main(["--format", "json", "--filter", "params.`qat.name` = 'direct'"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["run"], line["accuracy"], line["status"]) == ("direct", 0.8, "FINISHED")


@pytest.mark.usefixtures("sweep")
def test_the_table_and_the_page_are_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert compare.main(["--sweep", "latest"]) == 0
    shown = capsys.readouterr().out
    assert "sweep·recipes" in shown
    assert "0.9000" in shown
    assert "FAILED" in shown
    assert (
        compare.main(
            ["--sweep", "latest", "--format", "html", "--output", str(tmp_path / "page.html")]
        )
        == 0
    )
    assert "sweep·recipes" in (tmp_path / "page.html").read_text()


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("text_format", ["csv", "html"])
def test_a_file_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text_format: str
) -> None:
    file = tmp_path / "missing" / "x"
    assert compare.main(["--format", text_format, "--output", str(file)]) == 2
    assert capsys.readouterr() == (
        "",
        f"error: {file} cannot be written: No such file or directory.\n",
    )


def test_a_pull_request_gets_markdown(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--sweep", sweep, "--format", "markdown"]) == 0
    title, _, headings, rule, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith("**sweep·recipes")
    assert headings.startswith("|  | recipe | accuracy | loss | status |")
    assert rule.startswith("| --- | --- | ---: | ---: | --- |")
    assert [line.split(" | ")[1:3] for line in lines[:3]] == [
        ["none", "0.9000"],
        ["direct", "0.8000"],
        ["failing", ""],
    ]
    assert any(line.startswith("- recipe: direct against none") for line in lines)


def test_two_runs_are_shown_side_by_side_with_their_differences_only(
    sweep: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {run.info.run_name: run.info.run_id for run in MlflowClient(store).search_runs(["1"])}
    assert compare.main([runs["none"], runs["direct"]]) == 0
    shown = capsys.readouterr().out
    for part in ("qat.name", "0.9000", "0.8000", "-0.1000"):
        assert part in shown
    assert "trainer.seed" not in shown
    assert compare.main([runs["none"], runs["none"]]) == 0
    assert "nothing differs" in capsys.readouterr().out


def test_no_name_of_a_run_steers_the_terminal(
    sweep: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient(store)
    experiment = client.get_run(sweep).info.experiment_id
    runs = [client.create_run(experiment, run_name=f"run {n}\x1b[2J") for n in range(2)]
    for number, run in enumerate(runs):
        client.log_param(run.info.run_id, "dataset.name", f"mine\x1b[{number}J")
        client.log_metric(run.info.run_id, "accuracy", number / 2)
        client.log_text(run.info.run_id, "", "reports/report.html")
    ids = [run.info.run_id for run in runs]
    assert compare.main(ids) == 0
    assert compare.main([*ids, sweep]) == 0
    shown = capsys.readouterr().out
    assert "report of run 0" in shown
    assert "\x1b" not in shown


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("option", ["output", "metric"])
def test_two_runs_at_the_terminal_take_no_file_and_no_metric(
    store: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    runs = {run.info.run_name: run.info.run_id for run in MlflowClient(store).search_runs(["1"])}
    file = tmp_path / "two.csv"
    value = {"output": str(file), "metric": "accuracy"}[option]
    arguments = [runs["none"], runs["direct"], f"--{option}={value}"]
    assert compare.main(arguments) == 2
    assert f"--{option} does not go with two run ids" in capsys.readouterr().err
    assert not file.exists()
    assert compare.main([*arguments, "--format", "csv"]) == 0


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sweep", "nope"], "--sweep nope is not a sweep; the newest are: "),
        (
            ["--metric", "acuracy"],
            "metric acuracy is logged by none of these 4 runs; did you mean accuracy?",
        ),
        (
            ["--filter", "foo bar"],
            "--filter 'foo bar' is not understood: Invalid clause(s) in filter string",
        ),
        (
            ["--filter", "params.`qat.name` = 'x'"],
            "there are no runs in int8-text-classifiers with --filter",
        ),
        (
            ["--experiment", "int8-text-clasifiers"],
            "is unknown; did you mean int8-text-classifiers?",
        ),
        (["f" * 32, "e" * 32], f"run {'f' * 32} is not in sqlite"),
        (["f" * 32], "one run is nothing to compare"),
        (["f" * 32, "--sweep", "latest"], "run ids cannot be combined with --sweep"),
    ],
)
def test_what_is_not_there_is_one_line_with_what_is(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert compare.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_store_without_a_sweep_says_how_to_make_one(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert compare.main(["--sweep", "latest"]) == 2
    assert (
        "there is no sweep yet; python -m pipeline -m KEY=A,B makes one." in capsys.readouterr().err
    )
