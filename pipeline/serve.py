"""Serve a deployed model on loopback with `mlflow models serve`: python -m pipeline.serve [--model MODEL] [--port PORT]."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline import command_line
from pipeline.locate import CHAMPION, mlflow_directory
from pipeline.runtime import refuse_pickles


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns only if there is nothing to serve."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.serve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Serve a deployed model with `mlflow models serve`, after a look for pickles in its files.",
        epilog="ask it:\n"
        "  curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d '{\"inputs\": [\"what a day\"]}'\n",
    )
    parser.add_argument(
        "--model",
        default=CHAMPION,
        help="run id, models:/NAME@ALIAS, models:/NAME/VERSION or directory (default: %(default)s)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    parser.add_argument("--port", type=int, default=5001, help="default: %(default)s")
    options = parser.parse_args(arguments)
    return command_line.exit_code(lambda: _serve(options))


def _serve(options: argparse.Namespace) -> None:
    directory = mlflow_directory(options.model)
    refuse_pickles(directory)
    programs = Path(sys.executable).parent
    mlflow = programs / "mlflow"
    # It starts uvicorn by name, which an environment that is not activated does not find.
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}
    print(f"serving {options.model} on http://{options.host}:{options.port}/invocations", file=sys.stderr, flush=True)  # noqa: T201
    where = ["--host", options.host, "--port", str(options.port)]
    command = [str(mlflow), "models", "serve", "-m", str(directory), "--env-manager", "local", *where]
    os.execve(mlflow, command, environment)  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
