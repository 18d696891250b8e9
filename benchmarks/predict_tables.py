"""Measure what classifies a table fastest: one process, Ray Data or Spark, on the same CPUs.

python benchmarks/predict_tables.py [--texts N] [--model MODEL] [--engines local ray spark]

The same Parquet file of short texts is classified by each engine in turn, as a user would type it,
imports and start-up of the engine included. Printed are texts a second, the seconds of processor
time, and the peak memory of all processes. Ray Data has to take at most 1.1 times as long as one
process. Engines that are not installed are left out.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from _inputs import CORPUS
from _process import Measurement
from _promises import Promise, print_promises
from _tree import measure_tree

from pipeline.console.command_line import exit_code
from pipeline.cpus import available_cpus

LOCAL, RAY, SPARK = "local", "ray", "spark"
PACKAGES = {LOCAL: "pyarrow", RAY: "ray", SPARK: "pyspark"}
ROW_GROUP = 65_536
OVERHEAD = 1.1


def main() -> int:
    """Measure the engines, and print the ratio of Ray Data beside its promise.

    Returns:
        The exit code: 1 if the promise is broken.
    """
    options = parser().parse_args()
    engines = [name for name in options.engines if find_spec(PACKAGES[name])]
    measured: dict[str, list[Measurement]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "in.parquet"
        write_table(table, options.texts)
        for turn in range(options.repetitions):
            for name in engines:
                output = Path(folder) / f"{name}-{turn}.parquet"
                measured[name].append(classify(name, table, output, options))
        given = {name: answers(Path(folder) / f"{name}-0.parquet") for name in engines}
    for name in engines:
        apart = same(given[engines[0]], given[name])
        print(f"{name}: {line(measured[name], options.texts)}; {apart}")
    if not {LOCAL, RAY} <= measured.keys():
        return 0
    ratio = statistics.median(
        ray.wall_s / local.wall_s for ray, local in zip(measured[RAY], measured[LOCAL], strict=True)
    )
    return print_promises([Promise("time of Ray Data over that of one process", ratio, OVERHEAD)])


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--texts", metavar="N", type=int, default=1_000_000, help="number (default: %(default)s)"
    )
    command.add_argument(
        "--model",
        help="run id, registered model or directory with MLmodel (default: that of the newest run)",
    )
    command.add_argument(
        "--engines",
        nargs="+",
        choices=tuple(PACKAGES),
        default=tuple(PACKAGES),
        help="engines to measure (default: all)",
    )
    command.add_argument(
        "--cpus", metavar="N", type=int, default=available_cpus(), help="default: %(default)s"
    )
    command.add_argument(
        "--repetitions", metavar="N", type=int, default=1, help="turns (default: %(default)s)"
    )
    return command


def newest_model() -> str:
    """Return the id of the user's newest finished run that shipped a model."""
    from mlflow.tracking import MlflowClient

    from pipeline.tracking.lookup import newest_shipped
    from pipeline.tracking.store import tracking_uri

    return newest_shipped(MlflowClient(tracking_uri()))


def write_table(file: Path, count: int) -> None:
    """Write the quickstart's test texts again and again, each with a number.

    Args:
        file: Parquet file to write.
        count: number of rows.
    """
    texts = pd.read_csv(f"{CORPUS}/test.csv")["text"]
    repeated = texts.take([row % len(texts) for row in range(count)])
    table = pa.table({"id": range(count), "text": pa.array(repeated)})
    pq.write_table(table, file, row_group_size=ROW_GROUP)


def classify(engine: str, table: Path, output: Path, options: argparse.Namespace) -> Measurement:
    """Classify the table with an engine.

    Args:
        engine: name of the engine.
        table: Parquet file to read.
        output: Parquet file, or Spark's folder, to write.
        options: the command line, for the model and the CPUs.
    """
    model, cpus = options.model or newest_model(), str(options.cpus)
    if engine == SPARK:
        from pipeline.tracking.locate_model import mlflow_directory

        packed = str(mlflow_directory(model))
        return measure_tree("benchmarks/_spark_predict.py", packed, str(table), str(output), cpus)
    files = ["--file", str(table), "--output", str(output)]
    chosen = ["--model", model, "--engine", engine, "--threads", cpus]
    return measure_tree("-m", "pipeline.predict", *files, *chosen)


def answers(output: Path) -> pd.DataFrame:
    """Read labels and scores of an output, in the order of its ids."""
    table = pd.read_parquet(output, columns=["id", "label", "score"])
    return table.sort_values("id", ignore_index=True)


def same(expected: pd.DataFrame, actual: pd.DataFrame) -> str:
    """Say how far the answers of an engine are from those of the first."""
    flips = int((expected["label"] != actual["label"]).sum())
    difference = float((expected["score"] - actual["score"]).abs().max())
    return f"{flips} labels differ, scores by up to {difference:.1e}"


def line(measured: Sequence[Measurement], texts: int) -> str:
    """Write the medians of an engine's turns."""
    wall_s, cpu_s, peak_mb = (
        statistics.median(getattr(each, name) for each in measured)
        for name in ("wall_s", "cpu_s", "peak_mb")
    )
    return f"{texts / wall_s:,.0f} texts/s, {cpu_s:.0f} s of CPU, peak {peak_mb:,.0f} MB"


if __name__ == "__main__":
    sys.exit(exit_code(main))
