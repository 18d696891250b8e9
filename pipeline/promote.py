"""Make a run's model the champion if it passes the gate: python -m pipeline.promote RUN_ID."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.console import command_line, third_parties
from pipeline.names import CHAMPION_ALIAS, REGISTERED_MODEL
from pipeline.promotion.gate import Candidate, Check, Gate, checks, load_gate
from pipeline.tracking.locate_model import model_directory
from pipeline.tracking.store import DEFAULT_TRACKING_URI, command, store_errors, tracking_uri

if TYPE_CHECKING:
    from pipeline.promotion.registry import Registry

EXIT_REFUSED = 1
DESCRIPTION = f"""\
Register a run's model and move the alias `{CHAMPION_ALIAS}` to it, if it passes the gate.
"""
EXAMPLES = """\
exit code: 0 promoted, 1 refused by the gate, 2 bad input

examples:
  python -m pipeline.promote 0123456789abcdef0123456789abcdef
  python -m pipeline.promote --sweep latest     the best finished run of the last sweep
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.promote",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "run_id", metavar="RUN_ID", nargs="?", help="run whose model is to be promoted"
    )
    which.add_argument(
        "--sweep",
        metavar="ID",
        help="take the run of a sweep that is best by its objective: its id, its name, or latest",
    )
    command.add_argument(
        "--name",
        default=REGISTERED_MODEL,
        help="name of the registered model (default: %(default)s)",
    )
    command.add_argument(
        "--gate",
        default="default",
        help="name of a file in conf/gate/, or path of a .yaml file (default: %(default)s)",
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what was typed after the command's name; None takes the process's.

    Returns:
        The exit code: 0 promoted, 1 refused, 2 bad input.
    """
    options = parser().parse_args(arguments)
    return command_line.exit_code(lambda: _promote(options))


def _promote(options: argparse.Namespace) -> int:
    gate = load_gate(options.gate)
    third_parties.prepare()
    from pipeline.promotion.registry import Registry

    with store_errors(tracking_uri()):
        return _decide(Registry(options.name), options, gate)


def _decide(registry: "Registry", options: argparse.Namespace, gate: Gate) -> int:
    from pipeline.inference.classifier import TextClassifier

    run_id = registry.best_of_sweep(options.sweep) if options.sweep else options.run_id
    candidate = registry.candidate(run_id)
    TextClassifier(model_directory(run_id))  # one that is damaged is no candidate
    verdicts = checks(candidate, registry.champion(), gate)
    _show(candidate, verdicts)
    failed = [check for check in verdicts if not check.passed]
    if failed:
        registry.log_decision(candidate, f"refused: {_reasons(failed)}", verdicts)
        command_line.complain(f"not promoted; the gate failed at {_reasons(failed)}.")
        return EXIT_REFUSED
    version = registry.promote(candidate, _reasons(verdicts))
    registry.log_decision(candidate, f"promoted to {options.name} version {version}", verdicts)
    line = f"{options.name} version {version} is the {CHAMPION_ALIAS} now; next: "
    print(line + _serve(options.name))  # noqa: T201
    return 0


def _serve(name: str) -> str:
    is_default = name == REGISTERED_MODEL and tracking_uri() == DEFAULT_TRACKING_URI
    if is_default and command_line.in_checkout():
        return "make serve"
    model = f"models:/{name}@{CHAMPION_ALIAS}"
    return command(tracking_uri(), "-m", "pipeline.serve", "--model", model)


def _reasons(verdicts: Sequence[Check]) -> str:
    return "; ".join(f"{check.line}: {check.reason}" for check in verdicts)


def _show(candidate: Candidate, verdicts: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = Text(f"gate for {candidate.name} ({candidate.run_id})")
    table = Table(title=title, title_justify="left")
    for column in ("line", "", "why"):
        table.add_column(column)
    for check in verdicts:
        table.add_row(check.line, "passed" if check.passed else "FAILED", Text(check.reason))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
