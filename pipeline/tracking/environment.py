"""Describe the machine and the code that a run is made with, as tags of the run."""

import functools
import platform
import subprocess
from importlib.metadata import distributions, version
from pathlib import Path

from pipeline.cpus import available_cpus
from pipeline.names import CPU_COUNT_TAG, CPU_TAG, CPU_THREADS_TAG, GIT_COMMIT_TAG

KEY_PACKAGES = (
    "torch",
    "transformers",
    "optimum-intel",
    "neural-compressor",
    "hydra-core",
    "mlflow",
)


def environment_tags() -> dict[str, str]:
    """Return CPU and threads, git commit, and versions of what decides a run's figures."""
    import torch  # a run has imported it, the commands that only read have not

    return {
        **{f"version.{name}": version(name) for name in KEY_PACKAGES},
        CPU_TAG: cpu_model(),
        CPU_COUNT_TAG: str(available_cpus()),
        CPU_THREADS_TAG: str(torch.get_num_threads()),
        GIT_COMMIT_TAG: git_commit(),
    }


def cpu_model() -> str:
    """Return the CPU's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def git_commit() -> str:
    """Return the pipeline's commit, with "-dirty" if its working tree differs.

    Returns:
        40 hex digits, or "unknown" outside a git checkout; an environment that lies within the
        checkout of something else is outside.
    """
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@functools.cache  # 0.3 s, and the same for every job of a sweep in this process
def installed_packages() -> list[str]:
    """List the installed packages as NAME==VERSION, in alphabetical order."""
    names = {f"{package.name}=={package.version}" for package in distributions()}
    return sorted(names, key=str.lower)
