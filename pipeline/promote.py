"""Make a run's model the champion, if it passes the gate: python -m pipeline.promote RUN_ID | --sweep latest."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.console import command_line, quiet
from pipeline.promotion.gate import Candidate, Check, Gate, checks, load_gate
from pipeline.tracking.store import ALIAS, REGISTERED_NAME, store_errors, tracking_uri

if TYPE_CHECKING:
    from pipeline.promotion.registry import Registry

EXIT_REFUSED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 promoted, 1 refused, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.promote",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"Register a run's model and move the alias `{ALIAS}` to it, if it passes the gate.",
        epilog="exit code: 0 promoted, 1 refused by the gate, 2 bad input\n\n"
        "examples:\n"
        "  python -m pipeline.promote 0123456789abcdef0123456789abcdef\n"
        "  python -m pipeline.promote --sweep latest     the most accurate finished run of the last sweep\n",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "run_id", metavar="RUN_ID", nargs="?", help="the run whose model is to be promoted"
    )
    which.add_argument(
        "--sweep",
        metavar="ID",
        help="the most accurate finished run of a sweep: id or name of its run, or latest",
    )
    parser.add_argument(
        "--name", default=REGISTERED_NAME, help="registered model (default: %(default)s)"
    )
    parser.add_argument(
        "--gate", default="default", help="a file of conf/gate/ (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    return command_line.exit_code(lambda: _promote(options))


def _promote(options: argparse.Namespace) -> int:
    gate = load_gate(options.gate)
    quiet.third_parties()
    from pipeline.promotion.registry import Registry

    with store_errors(tracking_uri()):
        return _decide(Registry(options.name), options, gate)


def _decide(registry: "Registry", options: argparse.Namespace, gate: Gate) -> int:
    candidate = registry.candidate(
        registry.best_of_sweep(options.sweep) if options.sweep else options.run_id
    )
    verdicts = checks(candidate, registry.champion(), gate)
    _show(candidate, verdicts)
    refused = [check for check in verdicts if not check.passed]
    if refused:
        reason = "; ".join(f"{check.line}: {check.reason}" for check in refused)
        registry.log_decision(candidate, f"refused: {reason}", verdicts)
        command_line.complain(f"not promoted; the gate failed at {reason}.")
        return EXIT_REFUSED
    version = registry.promote(
        candidate, "; ".join(f"{check.line}: {check.reason}" for check in verdicts)
    )
    registry.log_decision(candidate, f"promoted to {options.name} version {version}", verdicts)
    print(f"{options.name} version {version} is the {ALIAS} now; next: make serve")  # noqa: T201
    return 0


def _show(candidate: Candidate, verdicts: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(f"gate for {candidate.name} ({candidate.run_id})"), title_justify="left"
    )
    for column in ("line", "", "why"):
        table.add_column(column)
    for check in verdicts:
        table.add_row(check.line, "passed" if check.passed else "FAILED", Text(check.reason))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
