import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.schema import BenchmarkConfig
from pipeline.errors import PipelineError
from pipeline.evaluation import benchmark_worker
from pipeline.evaluation.benchmark import (
    Benchmark,
    Point,
    _point,
    benchmark,
    choose,
    evenly_long,
)
from pipeline.evaluation.benchmark_worker import make_batch, make_texts
from pipeline.models.artifact import Artifact

ROWS = [[1, 10, 11, 2], [1, 12, 2], [1, 13, 14, 15, 2]]


def timed(variant: str, ms: float) -> Benchmark:
    return Benchmark(variant, 0.1, 100.0, (Point(1, None, ms, ms, ms, (ms, 1.5 * ms)),))


def test_the_fastest_int8_export_is_chosen() -> None:
    variants = ["fp32", "int8", "onnx_fp32", "onnx_int8", "openvino_int8"]
    times = {"fp32": 3.0, "int8": 0.1, "onnx_fp32": 0.2, "onnx_int8": 0.5, "openvino_int8": 0.4}
    benchmarks = {variant: timed(variant, ms) for variant, ms in times.items()}
    assert choose("fastest", variants, benchmarks) == "openvino_int8"
    assert choose("onnx_int8", variants, benchmarks) == "onnx_int8"


@pytest.mark.parametrize(
    ("variants", "chosen"),
    [
        (["fp32"], "fp32"),
        (["fp32", "int8"], "int8"),
        (["fp32", "onnx_fp32"], "onnx_fp32"),
        (["fp32", "int8", "onnx_fp32", "onnx_int8", "openvino_int8"], "onnx_int8"),
    ],
)
def test_what_is_chosen_when_nothing_was_timed(variants: list[str], chosen: str) -> None:
    assert choose("fastest", variants, {}) == chosen


def test_a_point_tells_its_throughput_and_how_quiet_the_machine_was() -> None:
    point = Point(32, 16, 8.0, 9.0, 10.0, (7.0, 8.0, 10.5))
    assert point.throughput_per_s == 4000
    assert point.spread == 1.5


def test_percentiles_are_milliseconds_over_the_calls_of_all_repetitions() -> None:
    first, second = range(1, 62), range(62, 102)
    seconds = [[ms / 1000 for ms in repetition] for repetition in (first, second)]
    point = _point(1, None, seconds)
    assert (point.batch, point.tokens) == (1, None)
    assert (point.p50_ms, point.p95_ms, point.p99_ms) == pytest.approx((51, 96, 100))
    assert point.p50_ms_by_repetition == pytest.approx((31, 81.5))


def test_an_export_is_timed_on_the_threads_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[tuple[object, ...]] = []
    monkeypatch.setattr(benchmark_worker, "open_session", lambda *given: opened.append(given))
    benchmark_worker._load("onnx_int8", Path("stored"), 3)
    assert opened == [(Path("stored"), 3)]


def test_a_pytorch_model_is_timed_on_the_threads_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr("pipeline.models.artifact.load", lambda _: torch.nn.Identity())
    benchmark_worker._load("fp32", Path("stored"), 3)
    assert taken == [3]


def test_batches_of_the_corpus_are_its_texts_in_turn() -> None:
    ids, mask = make_batch(ROWS, 0, (2, None), 1)
    assert ids.tolist() == [[1, 13, 14, 15, 2], [1, 10, 11, 2, 0]]
    assert mask.sum() == 9


@pytest.mark.parametrize("tokens", [3, 16, 128])
def test_batches_of_a_length_are_filled_with_tokens_of_the_corpus(tokens: int) -> None:
    ids, mask = make_batch(ROWS, 0, (4, tokens), 5)
    assert ids.shape == (4, tokens)
    assert mask.all()
    assert (ids[:, 0] == 1).all()
    assert (ids[:, -1] == 2).all()
    assert set(np.unique(ids[:, 1:-1])) <= {10, 11, 12, 13, 14, 15}


def test_whoever_gets_through_a_few_texts_has_had_short_and_long_ones() -> None:
    texts = ["x" * length for length in range(1, 1001)]  # a file that is sorted by length
    ordered = evenly_long(texts)
    assert len(ordered) == 2048
    assert set(ordered[:1000]) <= set(texts)
    for count in (5, 8, 22, 64, 91):
        lengths = [len(text) for text in ordered[:count]]
        assert np.median(lengths) == pytest.approx(500, rel=0.15)
    assert np.percentile([len(text) for text in ordered[:64]], 95) == pytest.approx(950, rel=0.03)
    for batch in range(64):
        lengths = [len(text) for text in ordered[32 * batch : 32 * batch + 32]]
        assert np.mean(lengths) == pytest.approx(500, rel=0.05)


def test_of_a_large_corpus_texts_at_equal_distances_are_timed() -> None:
    texts = [str(number) for number in range(1_000_000)]
    assert max(map(int, evenly_long(texts))) > 990_000
    assert evenly_long(["rain"]) == ["rain"] * 2048


def test_no_repetitions_time_nothing() -> None:
    assert (
        benchmark(
            [Artifact("onnx_int8", Path("nowhere"))], ["rain"], 32, BenchmarkConfig(repetitions=0)
        )
        == {}
    )


def test_a_worker_that_cannot_load_its_artifact_is_named(tmp_path: Path, micro_model: Path) -> None:
    shutil.copytree(micro_model, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(
        PipelineError,
        match="the benchmark of onnx_int8 ended early: .*cannot be loaded by ONNX Runtime",
    ):
        benchmark([Artifact("onnx_int8", tmp_path)], ["rain"], 32, BenchmarkConfig(repetitions=1))


def test_a_worker_names_the_damaged_file_of_its_artifact(tmp_path: Path, micro_model: Path) -> None:
    shutil.copytree(micro_model, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer.json").write_text("")
    with pytest.raises(PipelineError, match="ended early: .*tokenizer.json is missing or damaged"):
        benchmark([Artifact("fp32", tmp_path)], ["rain"], 32, BenchmarkConfig(repetitions=1))


def test_the_linear_model_gets_texts_or_as_many_of_their_words() -> None:
    texts = ["snow and ice", "fire", "rain again"]
    assert make_texts(texts, (2, None), 1) == (["rain again", "snow and ice"],)
    (strung,) = make_texts(texts, (2, 5), 1)
    assert strung == ["fire rain again snow and", "ice fire rain again snow"]
