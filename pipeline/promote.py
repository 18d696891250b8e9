"""Make a run's model the champion if it passes the gate: python -m pipeline.promote RUN_ID."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.console import command_line, third_parties
from pipeline.names import CHAMPION_ALIAS, REGISTERED_MODEL
from pipeline.promotion.gate import Candidate, Check, Gate, checks, load_gate
from pipeline.tracking.locate_model import model_directory
from pipeline.tracking.store import DEFAULT_TRACKING_URI, command, tracking_uri

if TYPE_CHECKING:
    from pipeline.promotion.registry import Registry, ShippedRun

EXIT_REFUSED = 1
DESCRIPTION = f"""\
Register a run's model and move the alias `{CHAMPION_ALIAS}` to it, if it passes the gate.

Its file and the champion's classify the validation split of the run, and are timed side by side.
The candidate may not be less accurate by more than the gate accepts, and has to be more accurate,
smaller or faster; and it has to be more accurate than the linear model of its run.
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

    return _decide(Registry(options.name), options, gate)


def _decide(registry: "Registry", options: argparse.Namespace, gate: Gate) -> int:
    run = registry.shipped(
        registry.best_of_sweep(options.sweep) if options.sweep else options.run_id
    )
    champion_run = registry.champion()
    if champion_run == run.run_id:  # the record of its promotion stays as it is
        command_line.complain(f"run {run.run_id} is the {CHAMPION_ALIAS} already.")
        return EXIT_REFUSED
    verdicts, label_names = _verdicts(registry, run, champion_run, gate)
    _show(run, verdicts)
    failed = [check for check in verdicts if not check.passed]
    if failed:
        registry.log_decision(run.run_id, f"refused: {_reasons(failed)}", verdicts)
        command_line.complain(f"not promoted; the gate failed at {_reasons(failed)}.")
        return EXIT_REFUSED
    card = registry.card(run.run_id, label_names, _reasons(verdicts))
    version = registry.promote(run.run_id, card)
    registry.log_decision(run.run_id, f"promoted to {options.name} version {version}", verdicts)
    line = f"{options.name} version {version} is the {CHAMPION_ALIAS} now; next: "
    print(line + _serve(options.name))  # noqa: T201
    return 0


def _verdicts(
    registry: "Registry", run: "ShippedRun", champion_run: str | None, gate: Gate
) -> tuple[list[Check], Sequence[str]]:
    """Measure the candidate, beside the champion if there is one, and judge it.

    Returns:
        The verdicts, and the labels that it answers with.
    """
    from pipeline.promotion.measurement import (
        floor_of,
        measure,
        read_again,
        time_both,
    )

    config = registry.config(run.run_id)
    corpus = read_again(config.dataset, run.digests, run.run_id)
    measured, champion = measure(model_directory(run.run_id), corpus, "candidate"), None
    if champion_run is not None:
        champion = measure(registry.champion_directory(), corpus, CHAMPION_ALIAS)
        measured, champion = time_both(measured, champion, corpus)
    linear = registry.linear_directory(run.run_id) if gate.beats_baseline else None
    floor = floor_of(linear, corpus)
    candidate = Candidate(run.accuracy_drop, run.speedup, measured, floor, run.chosen_from)
    return checks(candidate, champion, gate), corpus.label_names


def _serve(name: str) -> str:
    is_default = name == REGISTERED_MODEL and tracking_uri() == DEFAULT_TRACKING_URI
    if is_default and command_line.in_checkout():
        return "make serve"
    model = f"models:/{name}@{CHAMPION_ALIAS}"
    return command(tracking_uri(), "-m", "pipeline.serve", "--model", model)


def _reasons(verdicts: Sequence[Check]) -> str:
    return "; ".join(f"{check.line}: {check.reason}" for check in verdicts)


def _show(run: "ShippedRun", verdicts: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Table

    from pipeline.console.tables import shown

    title = shown(f"gate for {run.name} ({run.run_id})")
    table = Table(title=title, title_justify="left")
    for column in ("line", "", "why"):
        table.add_column(column)
    for check in verdicts:
        table.add_row(check.line, "passed" if check.passed else "FAILED", shown(check.reason))
    console = Console()
    console.print(table)
    console.print(f"test accuracy {run.test_accuracy:.4f}{_interval(run)}; it decides nothing here")


def _interval(run: "ShippedRun") -> str:
    if not run.test_interval:
        return ""
    low, high = run.test_interval
    return f" (95 % {low:.3f} to {high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
