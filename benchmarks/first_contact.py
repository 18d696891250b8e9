"""Measure how long the first commands take: --help, a misspelt key and the quickstart.

python benchmarks/first_contact.py

The quickstart's peak memory is measured too. It needs its inputs: `make assets` fetches them.
"""

import statistics
import sys
import tempfile

from _inputs import tracking_overrides
from _process import measure
from _promises import Promise, print_promises

REPETITIONS = 7


def main() -> int:
    """Measure the three commands, and print each figure beside its promise.

    Returns:
        The exit code: 1 if a promise is broken.
    """
    help_s = statistics.median(
        measure("-m", "pipeline", "--help").wall_s for _ in range(REPETITIONS)
    )
    error_s = statistics.median(
        measure("-m", "pipeline", "trainer.learnin_rate=1", exit_code=2).wall_s
        for _ in range(REPETITIONS)
    )
    with tempfile.TemporaryDirectory() as folder:
        quickstart = measure("-m", "pipeline", "experiment=quickstart", *tracking_overrides(folder))
    print(quickstart.output)
    return print_promises(
        [
            Promise(f"--help, median of {REPETITIONS}", help_s, 1.0, " s"),
            Promise(f"a misspelt key, median of {REPETITIONS}", error_s, 1.0, " s"),
            Promise("quickstart", quickstart.wall_s, 360.0, " s"),
            Promise("quickstart's peak memory", quickstart.peak_mb, 3000.0, " MB"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
