"""How long the first commands take: --help, a mistake, the quickstart; and the quickstart's peak memory.

python benchmarks/first_contact.py
"""

import statistics
import tempfile

from _process import conclude, measure, tracked_in

REPETITIONS = 7


def main() -> None:
    """Measure and print."""
    help_s = statistics.median(
        measure("-m", "pipeline", "--help").wall_s for _ in range(REPETITIONS)
    )
    error_s = statistics.median(
        measure("-m", "pipeline", "trainer.learnin_rate=1", exit_code=2).wall_s
        for _ in range(REPETITIONS)
    )
    with tempfile.TemporaryDirectory() as folder:
        quickstart = measure("-m", "pipeline", "experiment=quickstart", *tracked_in(folder))
    print(quickstart.output)
    conclude(
        [
            ("--help, median of 7", help_s, " s", 1.0),
            ("a misspelt key, median of 7", error_s, " s", 1.0),
            ("quickstart", quickstart.wall_s, " s", 360.0),
            ("quickstart's peak memory", quickstart.peak_mb, " MB", 3000.0),
        ]
    )


if __name__ == "__main__":
    main()
