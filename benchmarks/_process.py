"""Time a whole process and its peak memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Measured:
    """One process from start to exit.

    Args:
        wall_s: seconds of wall time, imports included.
        cpu_s: seconds of processor time over all threads; steadier than wall time on a machine that others use too.
        peak_mb: largest resident set, MB of 1,000,000 bytes; of the process itself, not its children.
        output: standard output and error.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def measure(*arguments: str, exit_code: int = 0) -> Measured:
    """Run `python ARGUMENTS` in the repository's root.

    Args:
        arguments: after the interpreter's name.
        exit_code: the expected one; another stops the benchmark with the process's output.
    """
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        output.seek(0)
        text = output.read()
    if os.waitstatus_to_exitcode(status) != exit_code:
        sys.exit(
            f"python {' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}:\n{text}"
        )
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, text)


def newest_run() -> Path:
    """Return the artifacts of the newest finished run in mlruns/ that shipped a model (make quickstart makes one)."""
    import mlflow
    from mlflow.tracking import MlflowClient

    from pipeline.bench import newest
    from pipeline.tracking.store import tracking_uri

    mlflow.set_tracking_uri(tracking_uri())
    client = MlflowClient()
    return Path(client.get_run(newest(client)).info.artifact_uri.removeprefix("file://"))


def bert_tiny_shape(folder: str) -> str:
    """Write a model of prajjwal1/bert-tiny's shape with the packaged tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertModel, set_seed

    set_seed(0)
    shape = BertConfig(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
    )
    BertModel(shape).save_pretrained(folder)
    AutoTokenizer.from_pretrained("assets/minilm").save_pretrained(folder)
    return folder


def tracked_in(folder: str) -> list[str]:
    """Overrides that keep a benchmark's runs out of the user's store."""
    return [
        f"tracking.tracking_uri=sqlite:///{folder}/mlflow.db",
        f"tracking.artifact_location={folder}/artifacts",
    ]


def conclude(promises: Sequence[tuple[str, float, str, float]], *, at_least: bool = False) -> None:
    """Print each measured figure beside its promise, and exit with 1 if one was not kept.

    Args:
        promises: what was measured, its value, its unit, and the most that was promised.
        at_least: the least was promised instead.
    """
    broken = [
        what for what, value, _, limit in promises if (value < limit if at_least else value > limit)
    ]
    for what, value, unit, limit in promises:
        bound = "at least" if at_least else "at most"
        print(
            f"{what}: {value:.3g}{unit} (promised: {bound} {limit:g}{unit}) {'BROKEN' if what in broken else 'kept'}"
        )
    sys.exit(bool(broken))
