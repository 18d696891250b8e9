"""Artifacts to load time, peak memory, latency and throughput: one process each, warm, taking turns."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from pipeline.config.schema import FP32_FORMATS, INT8_FORMATS, BenchmarkConfig
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.models.artifact import Artifact

LENGTHS = (
    16,
    32,
    128,
)  # tokens; beside the corpus's own lengths, and as far as texts are not cut shorter
BATCHES = (1, 32)
MAX_TEXTS = 2048


@dataclass(frozen=True)
class Point:
    """How long calls of one shape took.

    Args:
        batch: texts a call.
        tokens: tokens of every text; None stands for texts of the corpus.
        p50_ms, p95_ms, p99_ms: percentiles over all calls of all repetitions, in ms a call.
        p50_ms_by_repetition: the median of each repetition: how far the machine can be trusted.
    """

    batch: int
    tokens: int | None
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p50_ms_by_repetition: tuple[float, ...]

    @property
    def throughput_per_s(self) -> float:
        """Texts a second, from the median call."""
        return 1000 * self.batch / self.p50_ms

    @property
    def spread(self) -> float:
        """Slowest repetition over the fastest; 1.0 is a quiet machine."""
        return max(self.p50_ms_by_repetition) / min(self.p50_ms_by_repetition)


@dataclass(frozen=True)
class Benchmark:
    """What an artifact costs to run.

    Args:
        variant: the artifact.
        load_s: files to first answer, in seconds; without imports.
        peak_mb: largest resident set of its process, MB of 1,000,000 bytes; imports included.
        points: one for each length and each of BATCHES.
    """

    variant: str
    load_s: float
    peak_mb: float
    points: tuple[Point, ...]

    def at(self, batch: int, tokens: int | None) -> Point:
        """Return the point of one shape."""
        return next(
            point for point in self.points if (point.batch, point.tokens) == (batch, tokens)
        )

    @property
    def lengths(self) -> tuple[int | None, ...]:
        """The lengths that were measured; None stands for texts of the corpus."""
        return tuple(dict.fromkeys(point.tokens for point in self.points))

    @property
    def figures(self) -> dict[str, float]:
        """What is logged, by its name in MLflow: the corpus's own lengths without a suffix, the others with `_16_tokens`."""
        figures = {"load_s": self.load_s, "peak_memory_mb": self.peak_mb}
        for tokens in self.lengths:
            suffix = "" if tokens is None else f"_{tokens}_tokens"
            single = self.at(1, tokens)
            figures |= {
                f"latency_p50_ms{suffix}": single.p50_ms,
                f"latency_p95_ms{suffix}": single.p95_ms,
                f"latency_p99_ms{suffix}": single.p99_ms,
                f"latency_spread{suffix}": single.spread,
                f"throughput_per_s{suffix}": self.at(max(BATCHES), tokens).throughput_per_s,
            }
        return {f"{self.variant}/{name}": value for name, value in figures.items()}


def benchmark(
    artifacts: Sequence["Artifact"], texts: Sequence[str], max_length: int, config: BenchmarkConfig
) -> dict[str, Benchmark]:
    """Measure artifacts against each other, in one go: each has a process and a turn at every point in every repetition.

    Args:
        artifacts: of different variants; fp32 and int8 are loaded with torch, all others by their runtime.
        texts: of the corpus; each artifact's own tokenizer turns them into tokens, before anything is timed.
        max_length: tokens that texts are cut at.
        config: threads, repetitions and seconds of a turn.

    Returns:
        A Benchmark for each variant; none at all without repetitions.

    Raises:
        PipelineError: a worker ended early; the line is its own last one.
    """
    if config.repetitions == 0:
        return {}
    lengths = (None, *(tokens for tokens in LENGTHS if tokens <= max_length))
    points = list(product(BATCHES, lengths))
    times: dict[tuple[str, int, int | None], list[list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch, ExitStack() as stack:
        file = Path(scratch) / "texts.json"
        file.write_text(
            json.dumps({"max_length": max_length, "texts": list(texts[:MAX_TEXTS])}),
            encoding="utf-8",
        )
        workers = {
            artifact.variant: stack.enter_context(_Worker(artifact, config.threads, file))
            for artifact in artifacts
        }
        turns = list(product(range(config.repetitions), points, workers.items()))
        for _, (batch, tokens), (variant, worker) in tqdm(
            turns, "benchmark", leave=False, disable=not sys.stderr.isatty()
        ):
            turn = worker.ask({"batch": batch, "tokens": tokens, "seconds": config.seconds})
            times.setdefault((variant, batch, tokens), []).append(turn["times_s"])
        return {
            variant: Benchmark(
                variant,
                worker.load_s,
                worker.ask({"end": True})["peak_mb"],
                tuple(
                    _point(batch, tokens, times[variant, batch, tokens]) for batch, tokens in points
                ),
            )
            for variant, worker in workers.items()
        }


def choose(ship: str, variants: Sequence[str], benchmarks: Mapping[str, Benchmark]) -> str:
    """Decide which variant is shipped.

    Args:
        ship: a variant, or fastest.
        variants: that were made and passed, in the order in which they were.
        benchmarks: by variant.

    Returns:
        ship if it was made; else, of the exported INT8 variants, or the exported FP32 one if there is none, the one with the
        lowest p50 latency of one text of the corpus (the first, if nothing was timed); without any export the last variant
        that was trained.
    """
    if ship in variants:
        return ship
    for formats in (INT8_FORMATS, FP32_FORMATS):
        exported = [variant for variant in variants if variant in formats]
        if exported:
            return min(
                exported,
                key=lambda variant: benchmarks[variant].at(1, None).p50_ms if benchmarks else 0.0,
            )
    return variants[-1]


def _point(batch: int, tokens: int | None, repetitions: Sequence[Sequence[float]]) -> Point:
    p50, p95, p99 = np.percentile(1000 * np.concatenate(repetitions), [50, 95, 99])
    medians = tuple(1000 * statistics.median(times) for times in repetitions)
    return Point(batch, tokens, float(p50), float(p95), float(p99), medians)


class _Worker:
    """The parent's end of one process: JSON lines over pipes. It has loaded its artifact when the constructor returns."""

    def __init__(self, artifact: "Artifact", threads: int, texts: Path) -> None:
        self._variant = artifact.variant
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pipeline.evaluation.benchmark_worker",
                artifact.variant,
                str(artifact.path.absolute()),
                str(threads),
                str(texts),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"},
        )
        try:
            self.load_s: float = self.ask({"load": True})["load_s"]
        except BaseException:
            self.__exit__()
            raise

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise TypeError("the worker was started without pipes")
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or ["it said nothing"]
            raise PipelineError(f"the benchmark of {self._variant} ended early: {said[-1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()
