"""Time artifacts side by side: load time, peak memory, latency and throughput.

Each artifact has a process of its own, and they take turns.
"""

import json
import math
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
from scipy.stats.qmc import Halton
from tqdm import tqdm

from pipeline.config.schema import BENCHMARK_LENGTHS, BenchmarkConfig
from pipeline.errors import PipelineError
from pipeline.names import (
    FP32_FORMATS,
    INT8_FORMATS,
    LATENCY_P50_MS,
    LATENCY_P95_MS,
    LATENCY_P99_MS,
    LATENCY_SPREAD,
    LOAD_S,
    PEAK_MEMORY_MB,
    THROUGHPUT_PER_S,
    at_length,
    figure_of,
)

if TYPE_CHECKING:
    from pipeline.models.artifact import Artifact

BATCHES = (1, 32)
MAX_TEXTS = 2048  # of the corpus, that calls go round in: 64 batches of 32
PERCENTILES = (50, 95, 99)
WORKER = "pipeline.evaluation.benchmark_worker"
IMPORT_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Point:
    """How long calls of one shape took.

    Args:
        batch: texts in a call.
        tokens: tokens of every text; None stands for texts of the corpus.
        p50_ms, p95_ms, p99_ms: percentiles over all calls of all repetitions, in ms a call.
        p50_ms_by_repetition: median of each repetition: how steady the machine was.
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
        """Slowest repetition over the fastest; 1.0 on a quiet machine."""
        return max(self.p50_ms_by_repetition) / min(self.p50_ms_by_repetition)


@dataclass(frozen=True)
class Benchmark:
    """What an artifact costs to run.

    Args:
        variant: the artifact.
        load_s: seconds from the files to the first answer, without imports.
        peak_mb: largest resident set of its process, imports included, in MB of 1,000,000 bytes.
        points: one point for each length and each of BATCHES.
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
        """The figures by their names in MLflow; latencies are of one text."""
        figures = {LOAD_S: self.load_s, PEAK_MEMORY_MB: self.peak_mb}
        for tokens in self.lengths:
            single, many = self.at(min(BATCHES), tokens), self.at(max(BATCHES), tokens)
            values = {
                LATENCY_P50_MS: single.p50_ms,
                LATENCY_P95_MS: single.p95_ms,
                LATENCY_P99_MS: single.p99_ms,
                LATENCY_SPREAD: single.spread,
                THROUGHPUT_PER_S: many.throughput_per_s,
            }
            figures |= {at_length(name, tokens): value for name, value in values.items()}
        return {figure_of(self.variant, name): value for name, value in figures.items()}


def benchmark(
    artifacts: Sequence["Artifact"],
    texts: Sequence[str],
    max_length: int | None,
    config: BenchmarkConfig,
) -> dict[str, Benchmark]:
    """Measure artifacts against each other: each has a turn at every shape in every repetition.

    Args:
        artifacts: artifacts of different variants; teacher, fp32 and int8 are loaded with torch,
            all others by their runtime.
        texts: texts of the corpus, timed in the order of evenly_long(); each artifact's tokenizer
            turns them into tokens before anything is timed.
        max_length: tokens that texts are cut at; None cuts them as each artifact does when it is
            deployed, and measures the corpus's own lengths alone.
        config: the benchmark group: threads, repetitions and seconds of a turn.

    Returns:
        A benchmark for each variant; an empty dict without repetitions.

    Raises:
        PipelineError: a process ended early; the error quotes its last line.
    """
    if config.repetitions == 0:
        return {}
    longest = 0 if max_length is None else max_length
    lengths = (None, *(tokens for tokens in BENCHMARK_LENGTHS if tokens <= longest))
    shapes = list(product(BATCHES, lengths))
    times: dict[tuple[str, int, int | None], list[list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch, ExitStack() as stack:
        file = Path(scratch) / "texts.json"
        corpus = {"max_length": max_length, "texts": evenly_long(texts)}
        file.write_text(json.dumps(corpus), encoding="utf-8")
        workers = {
            artifact.variant: stack.enter_context(_Worker(artifact, config.threads, file))
            for artifact in artifacts
        }
        turns = list(product(range(config.repetitions), shapes, workers.items()))
        bar = tqdm(turns, "benchmark", leave=False, disable=not sys.stderr.isatty())
        for _, (batch, tokens), (variant, worker) in bar:
            turn = worker.ask({"batch": batch, "tokens": tokens, "seconds": config.seconds})
            times.setdefault((variant, batch, tokens), []).append(turn["times_s"])
        return {
            variant: Benchmark(
                variant,
                worker.load_s,
                worker.ask({"end": True})["peak_mb"],
                tuple(
                    _point(batch, tokens, times[variant, batch, tokens]) for batch, tokens in shapes
                ),
            )
            for variant, worker in workers.items()
        }


def evenly_long(texts: Sequence[str]) -> list[str]:
    """Put texts in an order whose every beginning has short and long ones as the corpus has.

    A slow artifact gets through a few texts in its turn where a fast one goes round them all, and
    their medians are compared; so the first few must be as long as all are. The order is that of
    van der Corput's sequence over the texts by length (scipy's Halton in one dimension).

    Args:
        texts: texts of the corpus, in any order.

    Returns:
        MAX_TEXTS texts, out of as many that lie at equal distances; fewer texts come repeatedly.
    """
    by_length = sorted(texts[:: math.ceil(len(texts) / MAX_TEXTS)], key=len)
    sequence = Halton(1, scramble=False)
    sequence.fast_forward(1)  # it begins with 0, the shortest text
    return [by_length[int(place * len(by_length))] for place in sequence.random(MAX_TEXTS)[:, 0]]


def choose(ship: str, variants: Sequence[str], benchmarks: Mapping[str, Benchmark]) -> str:
    """Decide which variant is shipped.

    Args:
        ship: a variant, or fastest.
        variants: variants of the run, in the order in which they were made.
        benchmarks: benchmark of each variant; may be empty.

    Returns:
        `ship` if the run made it. Else, of the exported INT8 variants, or of the exported FP32
        ones if there are none, the one with the lowest p50 latency of one text of the corpus (the
        first, if nothing was timed). Without any export the variant that was trained last.
    """
    if ship in variants:
        return ship
    for formats in (INT8_FORMATS, FP32_FORMATS):
        exported = [variant for variant in variants if variant in formats]
        if exported and not benchmarks:
            return exported[0]
        if exported:
            return min(exported, key=lambda variant: benchmarks[variant].at(1, None).p50_ms)
    return variants[-1]


def _point(batch: int, tokens: int | None, repetitions: Sequence[Sequence[float]]) -> Point:
    p50, p95, p99 = np.percentile(1000 * np.concatenate(repetitions), PERCENTILES)
    medians = tuple(1000 * statistics.median(times) for times in repetitions)
    return Point(batch, tokens, float(p50), float(p95), float(p99), medians)


class _Worker:
    """Talk to the process of one artifact: JSON lines over pipes.

    The process has loaded its artifact when the constructor returns.

    Args:
        artifact: directory to load.
        threads: threads of the process.
        texts: file with the texts.
    """

    def __init__(self, artifact: "Artifact", threads: int, texts: Path) -> None:
        self._variant = artifact.variant
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        arguments = [artifact.variant, str(artifact.path.absolute()), str(threads), str(texts)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=IMPORT_ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"},
        )
        try:
            self.load_s: float = self.ask({"load": True})["load_s"]
        except BaseException:
            self.__exit__()
            raise

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request, and wait for its answer."""
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
            errors = self._errors.read().strip().splitlines() or ["it printed nothing"]
            raise PipelineError(f"the benchmark of {self._variant} ended early: {errors[-1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()
