"""Compose a run or a sweep with Hydra, start it, and turn its errors into one line."""

import contextlib
import logging
import os
import re
import shlex
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from pipeline.config import schema
from pipeline.config.paths import is_directory
from pipeline.config.resolve import resolve, unknown_key
from pipeline.console import interrupt
from pipeline.console.command_line import (
    FULL_ERROR,
    USER_CHOICE,
    complain,
    exit_code,
    wants_traceback,
)
from pipeline.console.disk import disk_errors
from pipeline.console.log_lines import hide_secrets
from pipeline.errors import PipelineError, nearest, redacted
from pipeline.sweeps import sweepers

if TYPE_CHECKING:
    from pipeline.data.corpus import Corpus


CONF = Path(__file__).with_name("conf")
PROCESSES = "WORLD_SIZE"  # of one training, as torchrun and accelerate tell each of them
NO_OPTION = "none"  # of a group that a run may be without
# What Hydra 1.4 says of a key below a group that is null.
_OF_NO_GROUP = re.compile(r"Error merging override (?P<override>(?P<group>\w+)\.\S+)")


@hydra.main(config_path=str(CONF), config_name="config")
def _job(config: DictConfig) -> None:
    """Run one job: a single run exits with its error, a job of a sweep leaves the others to run."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        with (
            _in_start_folder(config),
            _output_to(Path(HydraConfig.get().runtime.output_dir) / "job.log"),
        ):
            _run(config)
        return
    try:
        if config.sweep.name is not None:
            raise PipelineError(
                f"sweep={config.sweep.name} is a search space; add -m to run its jobs."
            )
        # hydra.job.chdir=true has left the folder that relative paths were typed in.
        with contextlib.chdir(HydraConfig.get().runtime.cwd):
            _run(config)
    except PipelineError as error:
        if wants_traceback():
            raise
        complain(str(error))
        raise SystemExit(error.exit_code) from error


def _run(config: DictConfig) -> None:
    hide_secrets()
    if config.rerun is not None:
        from pipeline.rerun import rerun

        rerun(config, list(HydraConfig.get().overrides.task))
        return
    resolved = resolve(config)
    from pipeline.config import hub
    from pipeline.console import third_parties

    third_parties.prepare()
    hub.use_cache_if_silent(resolved)
    with interrupt.before_errors(), disk_errors():
        corpus = _corpus(resolved)
        from pipeline.run import run

        run(resolved, corpus)


def _corpus(config: schema.Config) -> "Corpus":
    """Read the corpus before torch, which takes seconds: what is wrong with it is told at once."""
    from pipeline.data.corpus import load_corpus

    try:
        return load_corpus(config.dataset)
    except PipelineError:
        if config.sweep.parent_run_id is None:
            raise
        # A job that cannot begin is part of its sweep's record.
        from pipeline.tracking.tracker import open_run

        with open_run(config):
            raise


@contextlib.contextmanager
def _in_start_folder(config: DictConfig) -> Iterator[None]:
    """Work in the folder that the sweep was started from, if this machine has it.

    Relative paths then mean the same as in the command.
    """
    directory = config.sweep.directory
    with contextlib.chdir(directory if directory is not None and is_directory(directory) else "."):
        yield


@contextlib.contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Send what a job of a sweep prints to a file; the terminal belongs to the sweep."""
    streams = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    with (
        file.open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        terminals = [handler.setStream(log) for handler in streams]
        try:
            yield
        except Exception:
            log.write(redacted(traceback.format_exc()))
            raise
        finally:
            for handler, stream in zip(streams, terminals, strict=True):
                handler.setStream(stream)


def main() -> int:
    """Run the command line.

    Returns:
        The exit code: 0, 1 if jobs of a sweep failed or a repeated run gave other figures, 2 for
        bad input, 130 after Ctrl-C or SIGTERM.
    """
    schema.register()
    sweepers.register()
    # Hydra 1.4 prints errors in its own way unless told to raise them; the user's choice is kept
    # beside it.
    os.environ.setdefault(USER_CHOICE, os.environ.get(FULL_ERROR, "0"))
    os.environ[FULL_ERROR] = "1"
    return exit_code(_compose_and_run)


def _compose_and_run() -> None:
    _refuse_a_share_of_the_work()
    try:
        _job()
    except (HydraException, OmegaConfBaseException) as error:
        raise PipelineError(explain(error)) from error


def _refuse_a_share_of_the_work() -> None:
    """Refuse to be one of several processes that torchrun or accelerate starts for one training.

    Each of them says so: torchrun ends all others when the first one has ended.

    Raises:
        PipelineError: there are several.
    """
    processes = os.environ.get(PROCESSES, "1")
    if processes == "1":
        return
    raise PipelineError(
        f"{PROCESSES}={processes}, as torchrun sets it: a run is one process, which uses all CPUs "
        "it may use, and neither QAT nor its figures are spread over several; start it with "
        "python -m pipeline alone, or several runs at once with -m hydra/launcher=joblib."
    )


def explain(error: BaseException | str) -> str:
    """Put an error of Hydra or OmegaConf into one line that names the key and what it takes.

    Args:
        error: error that was raised.
    """
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option} is unknown; {nearest(option, error.options)}"
    if isinstance(error, OverrideParseException):
        reason = str(error).splitlines()[0].partition(" out of [")[0]
        return f"{error.override!r} is not GROUP=OPTION or KEY=VALUE: {reason}{_in_quotes(error)}."
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) else error
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        if isinstance(cause, ConfigAttributeError | ConfigKeyError):
            return unknown_key(str(cause.full_key))
        return f"{cause.full_key}: {str(cause).splitlines()[0]}."
    if into_nothing := _OF_NO_GROUP.match(str(error)):
        return _without(into_nothing["group"], into_nothing["override"])
    lines = [
        line.strip() for line in str(error).splitlines() if line.strip() and "hydra.cc" not in line
    ]
    return " ".join(line if line.endswith((".", ";")) else f"{line};" for line in lines).rstrip(";")


def _without(group: str, override: str) -> str:
    """Say that an override is of a group that the run does not have."""
    options = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    added = "" if NO_OPTION in options else "+"  # of a group that is not among the defaults
    accepted = ", ".join(f"{added}{group}={name}" for name in options if name != NO_OPTION)
    return f"{override}: this run has no {group}; choose one: {accepted}."


def _in_quotes(error: OverrideParseException) -> str:
    """Write an override as Hydra takes it whose value has signs that its grammar reserves."""
    key, equals, value = error.override.partition("=")
    if not re.fullmatch(r"[+~]*[\w./@-]+", key) or not equals or value[:1] in "'\"":
        return ""
    override = shlex.quote(f"{key}={QuotedString(value, Quote.double).with_quotes()}")
    return f"; a value with such signs stands in quotes: {override}"
