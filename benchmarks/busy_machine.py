"""Measure a training step on a machine that does other work, as torch is and as a run sets it.

python benchmarks/busy_machine.py [--repetitions N]

The other work is 0, 1 and 2 processes that count. Both kinds of step take turns, each in a process
of its own; a figure is the median over the repetitions of a process's median.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator

from _process import measure
from _promises import Promise, print_promises

SECONDS = "6"
NEIGHBOURS = (0, 1, 2)
SLOWER_WHEN_IDLE = 1.02  # than as torch is, at most
KINDS = {"as torch is": (), "as a run sets it": ("prepared",)}


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


def main() -> int:
    """Measure, and print a table.

    Returns:
        The exit code: 1 if a promise is broken.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7, help="default: %(default)s")
    repetitions = parser.parse_args().repetitions
    print(f"{'neighbours':12}{'as torch is':>14}{'as a run sets it':>20}{'ratio':>8}  ms a step")
    ratios: dict[int, float] = {}
    for count in NEIGHBOURS:
        medians: dict[str, list[float]] = {kind: [] for kind in KINDS}
        with busy(count):
            for _ in range(repetitions):
                for kind, arguments in KINDS.items():
                    done = measure("benchmarks/_steps.py", SECONDS, *arguments)
                    medians[kind].append(float(done.output.split()[-1]))
        before, after = (statistics.median(values) for values in medians.values())
        pairs = zip(medians["as a run sets it"], medians["as torch is"], strict=True)
        ratios[count] = statistics.median(ours / theirs for ours, theirs in pairs)
        print(f"{count:<12}{before:>14.0f}{after:>20.0f}{ratios[count]:>8.2f}")
    return print_promises(
        [Promise("a step on an idle machine, against torch's", ratios[0], SLOWER_WHEN_IDLE, "")]
    )


if __name__ == "__main__":
    sys.exit(main())
