import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.tracking import environment
from pipeline.tracking.environment import environment_tags, git_commit


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=me", "-c", "user.email=me@here", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose one commit has the module that asks for it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    module = tmp_path / Path(environment.__file__).name
    shutil.copy(environment.__file__, module)
    git(tmp_path, "init")
    git(tmp_path, "add", module.name)
    git(tmp_path, "-c", "commit.gpgsign=false", "commit", "-m", "first")
    monkeypatch.setattr(environment, "__file__", str(module))
    return tmp_path


def test_the_environment_is_told() -> None:
    tags = environment_tags()
    assert tags["version.torch"] == version("torch")
    assert tags["git.commit"] == git_commit()
    assert tags["cpu.model"]
    assert 1 <= int(tags["cpu.threads"]) <= int(tags["cpu.count"])


def test_the_commit_is_that_of_the_code_and_dirty_once_the_code_differs(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    git(checkout, "tag", "--annotate", "--message", "a release", "v1.0.0")
    assert git_commit() == head
    with Path(environment.__file__).open("a") as code:
        code.write("\n")
    assert git_commit() == f"{head}-dirty"


def test_the_commit_of_something_else_around_the_code_is_unknown(checkout: Path) -> None:
    git(checkout, "rm", "--cached", Path(environment.__file__).name)
    git(checkout, "-c", "commit.gpgsign=false", "commit", "-m", "second")
    assert git_commit() == "unknown"
