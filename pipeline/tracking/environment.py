"""Describe the machine and the code that a run is made with, as tags of the run."""

import functools
import platform
import subprocess
from importlib.metadata import distributions, version
from pathlib import Path

from pipeline.names import CPU_TAG, GIT_COMMIT_TAG

KEY_PACKAGES = (
    "torch",
    "transformers",
    "optimum-intel",
    "neural-compressor",
    "hydra-core",
    "mlflow",
)


def environment_tags() -> dict[str, str]:
    """Return CPU model, git commit and the versions of the packages that decide a run's figures."""
    tags = {f"version.{name}": version(name) for name in KEY_PACKAGES}
    return {**tags, CPU_TAG: cpu_model(), GIT_COMMIT_TAG: git_commit()}


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
        40 hex digits, or "unknown" outside a git checkout.
    """
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


@functools.cache  # 0.3 s, and the same for every job of a sweep in this process
def installed_packages() -> list[str]:
    """List the installed packages as NAME==VERSION, in alphabetical order."""
    names = {f"{package.name}=={package.version}" for package in distributions()}
    return sorted(names, key=str.lower)
