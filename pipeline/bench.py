"""Time a finished run's artifacts again, side by side: python -m pipeline.bench [RUN_ID]."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.config.schema import BenchmarkConfig, Config
from pipeline.console import command_line, quiet
from pipeline.errors import PipelineError
from pipeline.tracking.store import SHIPPED_TAG, find_run, store_errors, tracking_uri

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DEFAULTS = BenchmarkConfig()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.bench",
        description="Time a finished run's artifacts, side by side: one process each, warm, taking turns.",
    )
    parser.add_argument(
        "run_id",
        metavar="RUN_ID",
        nargs="?",
        help="default: the newest finished run that shipped a model",
    )
    parser.add_argument(
        "--repetitions", type=int, default=5, help="turns at each shape (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=DEFAULTS.seconds,
        help="of a turn, at least (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=DEFAULTS.threads,
        help="of each process (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    return command_line.exit_code(lambda: _bench(options))


def _bench(options: argparse.Namespace) -> None:
    for name in ("repetitions", "seconds", "threads"):
        if not getattr(options, name) > 0:
            raise PipelineError(f"--{name} {getattr(options, name)} must be above 0.")
    quiet.third_parties()
    import mlflow
    from mlflow.tracking import MlflowClient
    from omegaconf import OmegaConf

    from pipeline.config.resolve import read_logged
    from pipeline.data.corpus import load_corpus
    from pipeline.evaluation.benchmark import benchmark
    from pipeline.models.artifact import Artifact
    from pipeline.reports.results import show_benchmarks

    mlflow.set_tracking_uri(tracking_uri())
    client = MlflowClient()
    with store_errors():
        run = find_run(client, options.run_id or newest(client))
        files = Path(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/"))
    config = cast(Config, OmegaConf.to_object(read_logged(files / "config")))
    variants = [
        name for name in ("fp32", "int8", *config.export.formats) if (files / name).is_dir()
    ]
    texts = load_corpus(config.dataset).splits["test"]["text"]
    timing = BenchmarkConfig(options.repetitions, options.seconds, options.threads)
    artifacts = [Artifact(variant, files / variant) for variant in variants]
    measured = benchmark(artifacts, texts, config.dataset.max_length, timing)
    sizes_mb = {artifact.variant: artifact.size_mb for artifact in artifacts}
    show_benchmarks(measured, sizes_mb, f"{run.info.run_name}, threads: {options.threads}")


def newest(client: "MlflowClient") -> str:
    """Return the id of the newest finished run that shipped a model.

    Raises:
        PipelineError: there is none.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"tags.{SHIPPED_TAG} LIKE '%' and attributes.status = 'FINISHED'"
    runs = client.search_runs(experiments, wanted, order_by=["start_time DESC"], max_results=1)
    if not runs:
        raise PipelineError("no finished run has shipped a model yet; make quickstart makes one.")
    return str(runs[0].info.run_id)


if __name__ == "__main__":
    sys.exit(main())
