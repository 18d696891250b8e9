"""Measure a training step on a machine that does other work, as torch is and as a run sets it.

python benchmarks/busy_machine.py [--turns N]

The other work is 0, 1 and 2 processes that count. Both kinds of step take turns of a few steps,
each in a process of its own that waits meanwhile, so that what others do meets both.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from _promises import Promise, print_promises

STEPS = (sys.executable, "benchmarks/_steps.py")
TURNS = {0: 6, 1: 1, 2: 1}  # by neighbours, in units of --turns
PAUSE_S = 0.05  # longer than a thread of torch spins
# By neighbours. Idle, 1.02 is wanted; the median of 120 turns moves by 0.03.
AT_MOST = {0: 1.05, 1: 0.8, 2: 0.85}


def main() -> int:
    """Measure, and print a table.

    Returns:
        The exit code: 1 if a promise is broken.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=20, help="default: %(default)s")
    turns = parser.parse_args().turns
    ratios: dict[int, float] = {}
    with stepper() as as_it_is, stepper("prepared") as prepared:
        print(
            f"{'neighbours':12}{'as torch is':>14}{'as a run sets it':>20}{'ratio':>8}  ms a step"
        )
        for count, factor in TURNS.items():
            with busy(count):
                before, after = take_turns(as_it_is, prepared, turns * factor)
            ratios[count] = statistics.median(after) / statistics.median(before)
            print(
                f"{count:<12}{statistics.median(before):>14.0f}{statistics.median(after):>20.0f}"
                f"{ratios[count]:>8.2f}",
                flush=True,
            )
    figure = "a step beside {} busy processes, against torch's"
    return print_promises(
        [Promise(figure.format(count), ratios[count], most) for count, most in AT_MOST.items()]
    )


@contextlib.contextmanager
def stepper(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that trains a few steps whenever it is asked, and end it afterwards.

    Args:
        arguments: of _steps.py.
    """
    path = os.pathsep.join([".", os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [*STEPS, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    ) as process:
        try:
            ask(process)  # imports and the first steps
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep some other processes counting while the block runs."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def take_turns(
    first: subprocess.Popen[str], second: subprocess.Popen[str], turns: int
) -> tuple[list[float], list[float]]:
    """Return the ms of a step in each turn of both; who begins changes from turn to turn."""
    times: dict[int, list[float]] = {first.pid: [], second.pid: []}
    for turn in range(turns):
        for process in (first, second) if turn % 2 else (second, first):
            time.sleep(PAUSE_S)
            times[process.pid].append(ask(process))
    return times[first.pid], times[second.pid]


def ask(process: subprocess.Popen[str]) -> float:
    """Let it train a few steps; return the ms of a step."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


if __name__ == "__main__":
    sys.exit(main())
