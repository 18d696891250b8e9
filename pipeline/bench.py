"""Time a finished run's artifacts again, side by side: python -m pipeline.bench [RUN_ID]."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from pipeline.config.schema import BenchmarkConfig, Config
from pipeline.console import command_line, third_parties
from pipeline.errors import PipelineError
from pipeline.names import CONFIG, FP32, FP32_FORMATS, INT8, INT8_FORMATS, LINEAR, VALIDATION
from pipeline.tracking.lookup import find_run, newest_shipped
from pipeline.tracking.store import store_errors, tracking_uri

DEFAULTS = BenchmarkConfig()
VARIANTS = (LINEAR, FP32, INT8, *FP32_FORMATS, *INT8_FORMATS)


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m pipeline.bench",
        description="Time a finished run's artifacts, side by side: each in a process of its own, "
        "warm, taking turns.",
    )
    command.add_argument(
        "run_id",
        metavar="RUN_ID",
        nargs="?",
        help="run to time (default: the newest finished run that shipped a model)",
    )
    command.add_argument(
        "--repetitions",
        type=int,
        default=5,
        help="number of turns at each shape (default: %(default)s)",
    )
    command.add_argument(
        "--seconds",
        type=float,
        default=DEFAULTS.seconds,
        help="shortest duration of a turn (default: %(default)s)",
    )
    command.add_argument(
        "--threads",
        type=int,
        default=DEFAULTS.threads,
        help="number of threads of each process (default: %(default)s)",
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what was typed after the command's name; None takes the process's.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    return command_line.exit_code(lambda: _bench(options))


def _bench(options: argparse.Namespace) -> None:
    for name in ("repetitions", "seconds", "threads"):
        if not getattr(options, name) > 0:
            raise PipelineError(f"--{name} {getattr(options, name)} must be above 0.")
    third_parties.prepare()
    from omegaconf import OmegaConf

    from pipeline.config.resolve import read_logged
    from pipeline.data.corpus import load_corpus
    from pipeline.evaluation.benchmark import benchmark
    from pipeline.models.artifact import Artifact
    from pipeline.reports.results import show_benchmarks
    from pipeline.tracking.database import open_client
    from pipeline.tracking.fetch import fetch

    uri = tracking_uri()
    with store_errors(uri):
        client = open_client(uri)
        run = find_run(client, options.run_id or newest_shipped(client))
        files = fetch(client, run)
    config = cast(Config, OmegaConf.to_object(read_logged(files / CONFIG)))
    # The store's names, not the config's, which is a file of the store as well.
    variants = [name for name in VARIANTS if (files / name).is_dir()]
    texts = load_corpus(replace(config.dataset, unlabelled_file=None)).splits[VALIDATION]["text"]
    timing = BenchmarkConfig(options.repetitions, options.seconds, options.threads)
    artifacts = [Artifact(variant, files / variant) for variant in variants]
    benchmarks = benchmark(artifacts, texts, config.dataset.max_length, timing)
    sizes_mb = {artifact.variant: artifact.size_mb for artifact in artifacts}
    show_benchmarks(benchmarks, sizes_mb, f"{run.info.run_name}, threads: {options.threads}")


if __name__ == "__main__":
    sys.exit(main())
