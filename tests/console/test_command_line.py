import contextlib
import errno
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.console import interrupt
from pipeline.console.command_line import complain, exit_code, note, python, writing
from pipeline.errors import PipelineError


def raising(error: BaseException) -> int:
    def command() -> None:
        raise error

    return exit_code(command)


def test_a_command_ends_with_its_own_code() -> None:
    assert exit_code(lambda: None) == 0
    assert exit_code(lambda: 1) == 1


def test_bad_input_is_one_line_without_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_FULL_ERROR", "0")
    assert raising(PipelineError("http://me:secret@host/ does not answer")) == 2
    assert capsys.readouterr().err == "error: http://***@host/ does not answer\n"


def test_an_interrupt_is_said_and_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_what_a_library_makes_of_an_interrupt_is_an_interrupt(
    capsys: pytest.CaptureFixture[str], own_handlers: None
) -> None:
    def command() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise PipelineError("the worker is gone") from None
        return 0

    assert exit_code(command) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_the_traceback_is_there_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIPELINE_FULL_ERROR", raising=False)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(PipelineError, match="wrong"):
        raising(PipelineError("wrong"))


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_that_got_lost_is_found_again(number: signal.Signals) -> None:
    # A suite that runs in the background has SIGINT ignored, and under nohup SIGHUP.
    before = {each: signal.signal(each, signal.SIG_DFL) for each in SIGNALS}

    def command() -> None:
        interrupt.check()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        interrupt.check()

    try:
        assert exit_code(command) == 130
        assert exit_code(interrupt.check) == 0, "the next command starts anew"
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_who_starts_it_with_nohup_may_close_the_terminal() -> None:
    before = {each: signal.getsignal(each) for each in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert exit_code(lambda: signal.raise_signal(signal.SIGHUP)) == 0
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_printed_command_works_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = "import os, sys; print(sys.executable, os.environ['STORE'], sys.argv[1])"
    line = python("-c", program, "a b#c", STORE="x y")
    printed = subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout
    assert printed == f"{sys.executable} x y a b#c\n"


def test_a_python_whose_environment_is_not_active_is_named_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("base", "venv"):
        (tmp_path / name).mkdir()
    (tmp_path / "base/python").symlink_to(sys.executable)
    (tmp_path / "venv/python").symlink_to(tmp_path / "base/python")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/python"))
    monkeypatch.setenv("PATH", str(tmp_path / "base"))
    assert shlex.split(python("-m", "pipeline"))[0] == str(tmp_path / "venv/python")
    monkeypatch.setenv("PATH", str(tmp_path / "venv"))
    assert shlex.split(python("-m", "pipeline"))[0] == "python"


def test_a_python_below_the_working_folder_is_named_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(Path(sys.executable).parents[1])
    assert shlex.split(python("-m", "pipeline"))[0] == f"bin/{Path(sys.executable).name}"


def test_what_a_file_refuses_is_one_line_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_FULL_ERROR", "0")
    file = tmp_path / "missing/x.csv"
    assert exit_code(lambda: file.touch()) == 2
    line = f"error: {file}: No such file or directory (HYDRA_FULL_ERROR=1 shows where).\n"
    assert capsys.readouterr().err == line
    assert raising(OSError(errno.ENOSPC, "No space left on device")) == 2
    line = "error: a disk is full, perhaps that of standard output: No space left on device.\n"
    assert capsys.readouterr().err == line
    monkeypatch.setenv("PIPELINE_FULL_ERROR", "1")
    with pytest.raises(FileNotFoundError):
        exit_code(lambda: file.touch())


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        OSError("the Hub does not know this model"),
    ],
)
def test_what_is_no_file_s_error_keeps_its_traceback(error: OSError) -> None:
    with pytest.raises(type(error)):
        raising(error)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("letters", [10, 9_000, 100_000])
def test_a_full_standard_output_is_one_line(unbuffered: str, letters: int) -> None:
    program = (
        "import sys; from pipeline.console.command_line import exit_code; "
        f"sys.exit(exit_code(lambda: print('x' * {letters})))"
    )
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
    assert done.returncode == 2
    assert "standard output" in done.stderr
    assert done.stderr.endswith(": No space left on device.\n")
    assert done.stderr.count("\n") == 1


def test_a_file_that_cannot_be_written_is_named_and_a_closed_pipe_passes() -> None:
    line = r"x\.csv cannot be written: No space left on device\."
    with pytest.raises(PipelineError, match=line), writing(Path("x.csv")):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(BrokenPipeError), writing("x.csv"):
        raise BrokenPipeError


def test_no_error_or_note_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    complain("label 'hot\x1b[2J\n' occurs")
    note("hot\x9b2J")
    assert capsys.readouterr().err == "error: label 'hot [2J ' occurs\nhot 2J\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("letters", [10, 100_000])
def test_who_has_seen_enough_hears_no_complaint(unbuffered: str, letters: int) -> None:
    program = (
        "import sys; from pipeline.console import command_line\n"
        "def show():\n"
        f"    with command_line.writing('standard output'): print('x' * {letters})\n"
        "sys.exit(command_line.exit_code(show))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_without_a_standard_output_a_command_still_ends_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert exit_code(lambda: None) == 0
