"""The command line: exit codes, one-line errors, and what third parties may say meanwhile."""

import os
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from pipeline import config as schema
from pipeline.command_line import EXIT_BAD_INPUT, FULL_ERROR, USER_CHOICE, complain, exit_code, wants_traceback
from pipeline.errors import PipelineError, nearest
from pipeline.resolve import resolve, unknown_key


@hydra.main(config_path=str(Path(__file__).parents[1] / "conf"), config_name="config")
def _job(config: DictConfig) -> float:
    """Run one job; a single run exits at once, a job of a sweep leaves the others to run."""
    try:
        resolved = resolve(config)
        from pipeline import hub, quiet

        quiet.third_parties()
        hub.use_cache_if_silent(resolved)
        from pipeline.run import run

        return run(resolved, _sweep())
    except PipelineError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN or wants_traceback():
            raise
        complain(str(error))
        raise SystemExit(EXIT_BAD_INPUT) from error


def main() -> int:
    """Run the command line.

    Returns:
        The exit code: 0, 2 for bad input, 130 after Ctrl-C or SIGTERM.
    """
    schema.register()
    # Hydra 1.4 prints errors in its own way unless told to raise them; the user's own choice is kept beside it.
    os.environ.setdefault(USER_CHOICE, os.environ.get(FULL_ERROR, "0"))
    os.environ[FULL_ERROR] = "1"
    return exit_code(_compose_and_run)


def _compose_and_run() -> None:
    try:
        _job()
    except (HydraException, OmegaConfBaseException) as error:
        raise PipelineError(explain(error)) from error


def explain(error: BaseException | str) -> str:
    """Put an error of Hydra or OmegaConf into one line that names the key and what it takes.

    Args:
        error: what was raised.
    """
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option} is unknown; {nearest(option, error.options)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is not GROUP=OPTION or KEY=VALUE: {str(error).splitlines()[0]}."
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) else error
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        if isinstance(cause, ConfigAttributeError | ConfigKeyError):
            return unknown_key(str(cause.full_key))
        return f"{cause.full_key}: {str(cause).splitlines()[0]}."
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "hydra.cc" not in line]
    return " ".join(line if line.endswith((".", ";")) else f"{line};" for line in lines).rstrip(";")


def _sweep() -> str | None:
    """Name the multirun that this job belongs to: its folder, whose name is the time at which it started."""
    hydra_config = HydraConfig.get()
    return "_".join(Path(hydra_config.sweep.dir).parts[-2:]) if hydra_config.mode == RunMode.MULTIRUN else None
