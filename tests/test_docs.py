"""Compose or parse every command that README and docs/ quote, so that none rots."""

import argparse
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict

from pipeline.config.schema import Config, register
from pipeline.sweeps import sweepers

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RUN = ["-m", "pipeline"]
HYDRA_FLAGS = {"-m", "--help", "--cfg", "job"}
# What `make TARGET ARGS="..."` hands its arguments to.
MAKE_COMMANDS = {
    "quickstart": "python -m pipeline experiment=quickstart",
    "train": "python -m pipeline",
    "sweep": "python -m pipeline -m sweep=small experiment=quickstart",
    "compare": "python -m pipeline.compare",
    "bench": "python -m pipeline.bench",
    "promote": "python -m pipeline.promote",
    "serve": "python -m pipeline.serve",
    "server": "python -m pipeline.server",
}


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [
        line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()
    ]


QUOTED = [
    pytest.param(line, id=f"{page.name}: {' '.join(line.split())}")
    for page in PAGES
    for line in commands(page)
]


def check_pipeline(arguments: list[str]) -> None:
    """Compose a run, or the first job of a sweep."""
    register()
    sweepers.register()
    if "--config-dir" in arguments:
        place = arguments.index("--config-dir")
        arguments = arguments[:place] + arguments[place + 2 :]
    overrides = [argument for argument in arguments if argument not in HYDRA_FLAGS]
    first_job = []
    for override in OverridesParser.create().parse_overrides(overrides):
        key, value = override.get_key_element(), override.input_line.partition("=")[2]
        if override.is_discrete_sweep():
            value = next(override.sweep_string_iterator())
        elif override.is_sweep_override():  # an interval, which Optuna draws from
            (value,) = re.findall(r"interval\(([^,]+),", value)
        first_job.append(f"{key}={value}")
    with initialize_config_dir(str(ROOT / "conf")):
        config = compose("config", first_job, return_hydra_config=True)
    with open_dict(config):
        config.pop("hydra")
    assert not OmegaConf.missing_keys(config)
    assert isinstance(OmegaConf.to_object(config), Config)


def check_door(module: str, arguments: list[str]) -> None:
    """Parse the arguments of one of the other commands."""
    parser: argparse.ArgumentParser = importlib.import_module(module).parser()
    parser.parse_args(arguments)


def check_make(arguments: list[str]) -> None:
    """Find the target and its variables in the Makefile, and check what ARGS is handed to."""
    target, *assignments = arguments
    assert re.search(rf"^{target}:.*## ", MAKEFILE, re.MULTILINE), f"make {target}"
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        assert f"$({name})" in MAKEFILE, assignment
        if name == "ARGS" and target in MAKE_COMMANDS:
            check(f"{MAKE_COMMANDS[target]} {value}")


def check_pip(arguments: list[str]) -> None:
    """Make sure that extras and files exist."""
    for argument in arguments:
        for extra in re.findall(r"^\.\[(\w+)\]$", argument):
            assert extra in PYPROJECT["project"]["optional-dependencies"]
        if argument.endswith(".txt"):
            assert (ROOT / argument).is_file()


def check_python(arguments: list[str]) -> None:
    if arguments[:1] == ["-m"] and arguments[1] == "pipeline":
        check_pipeline(arguments[2:])
    elif arguments[:1] == ["-m"] and arguments[1].startswith("pipeline."):
        check_door(arguments[1], arguments[2:])
    elif arguments[:2] == ["-m", "pytest"]:
        assert (ROOT / arguments[2]).is_file()
    elif arguments[:2] == ["-m", "pip"]:
        check_pip(arguments[2:])
    else:
        check_script(arguments)


def check_script(arguments: list[str]) -> None:
    """Make sure that a benchmark exists and has the options that it is called with."""
    text = (ROOT / arguments[0]).read_text(encoding="utf-8")
    for option in arguments[1:]:
        assert not option.startswith("--") or f'"{option}"' in text, option


def check_mlflow(arguments: list[str]) -> None:
    from mlflow.cli import cli

    group = cli
    while arguments[0] in getattr(group, "commands", {}):
        group, arguments = group.commands[arguments[0]], arguments[1:]
    group.make_parser(click.Context(group)).parse_args(args=list(arguments))


def check(line: str) -> None:
    program, *arguments = shlex.split(line)
    if program in ("python", ".venv/bin/python"):
        check_python(arguments)
    elif program == "make":
        check_make(arguments)
    elif program == "pip":
        check_pip(arguments)
    elif program == "mlflow":
        check_mlflow(arguments)
    elif program == "ray":  # of the extra `ray`, which is not installed for the tests
        assert any("ray" in extra for extra in PYPROJECT["project"]["optional-dependencies"]["ray"])
    elif program == "podman":  # the image's entry point is python
        assert f"# {line.strip()}" in (ROOT / "Containerfile").read_text(encoding="utf-8")
        check_python(arguments[arguments.index("-m") :] if "-m" in arguments else RUN)
    elif program == "curl":  # tests/e2e/test_serving.py asks the same
        assert arguments[0].endswith("/invocations")
    else:
        assert program == ".venv/bin/pre-commit", f"{line}: what checks it?"


@pytest.mark.parametrize("line", QUOTED)
def test_a_quoted_command_is_understood(line: str) -> None:
    check(line)


@pytest.mark.parametrize(
    "line",
    [
        "python -m pipeline qat=dirct",
        "python -m pipeline trainer.learning_rat=1e-4",
        "python -m pipeline.compare --swep latest",
        "make quickstrat",
        'make train ARGS="trainer.learning_rate=fast"',
        "pip install -e '.[rai]'",
        "mlflow server --hots 127.0.0.1",
        ".venv/bin/python benchmarks/peers.py --dta-dir DIR",
        "rm -rf /",
    ],
)
def test_a_mistake_in_a_quoted_command_would_be_seen(line: str) -> None:
    with pytest.raises((Exception, SystemExit)):
        check(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#][^)]*|#[^)]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [
                re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
            ]
            assert anchor in slugs, f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:tests|conf|benchmarks|pipeline|docs)/[\w./]+)`", text):
        placeholder = re.search(r"[A-Z]{2}", path)
        assert placeholder or (ROOT / path).exists(), f"{page.name}: {path}"
    if page.name in ("architecture.md", "contributing.md"):  # paths below pipeline/
        for path in re.findall(r"`([a-z]+/[a-z_/]+\.py)`", text):
            assert (ROOT / path).exists() or (ROOT / "pipeline" / path).exists(), path


def test_architecture_names_every_module() -> None:
    rows = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()
    rooms = {
        row[0].strip("` "): sorted(re.findall(r"`(\w+)`", row[2]))
        for row in (line.split("|")[1:] for line in rows if line.count("|") == 5)
        if "`" in row[0] and row[0].strip("` ").endswith("/")
    }
    for folder in sorted(path.parent for path in (ROOT / "pipeline").glob("*/__init__.py")):
        modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
        assert rooms[f"{folder.name}/"] == modules, folder.name


def test_the_readme_is_two_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_help_ends_with_a_line_for_each_of_the_other_commands() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "pipeline", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # Every file of the root with a main() of its own, but for the run's.
    texts = {path.stem: path.read_text("utf-8") for path in (ROOT / "pipeline").glob("*.py")}
    doors = sorted(name for name, text in texts.items() if 'prog="python -m pipeline.' in text)
    last = [line.split()[2] for line in shown.strip().splitlines()[-len(doors) :]]
    assert last == [f"pipeline.{door}" for door in doors]
