"""Measure the pipeline's INT8 exports against what people would deploy instead.

python benchmarks/peers.py [--data-dir DIR] [--model DIR] [--seeds N] [--static-python FILE]
                           [KEY=VALUE ...]

All but two come from the same FP32 fine-tune. Each peer is built here with its tool's defaults from
the run's FP32 model as it is: ONNX Runtime FP32, ONNX Runtime dynamic quantization, OpenVINO FP32,
OpenVINO with NNCF post-training quantization (300 training texts), and what optimum-cli makes of
it: dynamic quantization, and OpenVINO with INT8 weights. PyTorch FP32 (eager) is timed beside them.
The other two are the linear model over TF-IDF, and model2vec's static embeddings of the same
encoder under a linear head, which --static-python names an interpreter for. Latency and throughput
are those of one thread, in one process each, taking turns; accuracy is that of the whole test
split, and every seed is trained anew.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.console import third_parties

third_parties.prepare()

import numpy as np
from _inputs import CORPUS, ENCODER, artifacts_of, tracking_client, tracking_overrides
from _peers import MAX_LENGTH, PEERS, StaticEmbeddings, build_peers, static_embeddings
from _process import measure
from _promises import Promise, print_promises
from mlflow.entities import Run

from pipeline.config.schema import BENCHMARK_LENGTHS, BenchmarkConfig, DatasetConfig
from pipeline.data.corpus import Corpus, load_corpus
from pipeline.evaluation.benchmark import Benchmark, benchmark
from pipeline.inference.classifier import TextClassifier
from pipeline.models.artifact import Artifact
from pipeline.names import ACCURACY, FP32, INT8_FORMATS, LINEAR, TEST, figure_of, time_of

LARGE_BATCH = (32, 32)  # texts in a call, and tokens of each
SHAPES = (*((1, tokens) for tokens in BENCHMARK_LENGTHS), LARGE_BATCH)
FINETUNE, QAT = "finetune", "qat"


@dataclass(frozen=True)
class Lead:
    """How many times as fast an INT8 export is as the models that it is compared with.

    Args:
        variant: the export.
        over_peers: over the fastest peer, at each of SHAPES.
        over_pytorch: over PyTorch FP32, for one text of each length.
    """

    variant: str
    over_peers: Sequence[float]
    over_pytorch: Sequence[float]

    @property
    def mean(self) -> float:
        """Geometric mean over the fastest peer."""
        return statistics.geometric_mean(self.over_peers)


def main() -> int:
    """Train, build the peers, measure everything, and print the figures beside their promises.

    Returns:
        The exit code: 1 if a promise is broken.
    """
    options = parser().parse_args()
    corpus = load_corpus(DatasetConfig(name="corpus", data_dir=options.data_dir))
    accuracies: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    static = None
    with tempfile.TemporaryDirectory() as folder:
        if options.static_python:  # first: another environment may lack something
            inputs = (options.model, options.data_dir, Path(folder) / "static")
            static = static_embeddings(options.static_python, *inputs)
        for seed in range(options.seeds):
            run = train(options, seed, folder)
            files = artifacts_of(run)
            peers = build_peers(files, corpus, Path(folder) / f"peers-{seed}")
            exports = [Artifact(name, files / name) for name in INT8_FORMATS]
            figures = run.data.metrics
            accuracies.setdefault(LINEAR, []).append(figures[figure_of(LINEAR, ACCURACY)])
            seconds.setdefault(LINEAR, []).append(figures[time_of(LINEAR)])
            for artifact in (*peers, *exports):
                accuracies.setdefault(artifact.variant, []).append(accuracy(artifact.path, corpus))
                phases = [FINETUNE] if artifact in peers else [FINETUNE, QAT]
                trained_s = sum(figures[time_of(phase)] for phase in phases)
                seconds.setdefault(artifact.variant, []).append(trained_s)
            by_variant = ", ".join(
                f"{name} {values[-1]:.4f}" for name, values in accuracies.items()
            )
            print(f"seed {seed}: {by_variant}", flush=True)
        # Times are those of the last seed's models.
        artifacts = [
            Artifact(LINEAR, files / LINEAR),
            Artifact(FP32, files / FP32),
            *peers,
            *exports,
        ]
        timing = BenchmarkConfig(repetitions=options.repetitions, seconds=0.5, threads=1)
        texts = corpus.splits[TEST]["text"]
        benchmarks = benchmark(artifacts, texts, MAX_LENGTH, timing)
        sizes_mb = {artifact.variant: artifact.size_mb for artifact in artifacts}
    print_figures(benchmarks, sizes_mb, accuracies, seconds)
    if static is not None:
        print_static(static)
    leads = [lead(variant, benchmarks) for variant in INT8_FORMATS]
    shapes = ", ".join(f"{batch}x{tokens}" for batch, tokens in SHAPES)
    for export in leads:
        ratios = " ".join(f"{ratio:.2f}" for ratio in export.over_peers)
        print(f"{export.variant}: times as fast as the fastest peer at {shapes}: {ratios}")
    return print_promises(promises(max(leads, key=lambda export: export.mean), accuracies))


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--model",
        metavar="DIR",
        default=ENCODER,
        help="directory of the pretrained encoder (default: %(default)s)",
    )
    command.add_argument(
        "--data-dir",
        metavar="DIR",
        default=CORPUS,
        help="folder with train, validation and test (default: %(default)s)",
    )
    command.add_argument(
        "--seeds",
        metavar="N",
        type=int,
        default=3,
        help="number of seeds to train (default: %(default)s)",
    )
    command.add_argument(
        "--repetitions",
        metavar="N",
        type=int,
        default=7,
        help="number of turns at each shape (default: %(default)s)",
    )
    command.add_argument(
        "--static-python",
        metavar="FILE",
        help="interpreter of an environment with model2vec[distill], scikit-learn and pandas",
    )
    command.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="overrides of the runs, as for python -m pipeline",
    )
    return command


def train(options: argparse.Namespace, seed: int, folder: str) -> Run:
    """Run the pipeline with one seed.

    Args:
        options: the command line, for the model, the data and the overrides.
        seed: seed of the run.
        folder: folder of the tracking store.

    Returns:
        The run in MLflow.
    """
    overrides = [
        "dataset=emotion",
        f"model.name_or_path={options.model}",
        "model.num_hidden_layers=2",
        f"dataset.data_dir={options.data_dir}",
        "dataset.label_names=null",
        f"trainer.seed={seed}",
        "benchmark=none",
    ]
    measure("-m", "pipeline", *overrides, *tracking_overrides(folder), *options.overrides)
    (run,) = tracking_client(folder).search_runs(["1"], order_by=["start_time DESC"], max_results=1)
    return run


def accuracy(directory: Path, corpus: Corpus) -> float:
    """Measure the test accuracy of a deployed directory, from the texts on.

    Args:
        directory: directory with a model, its tokenizer and config.json.
        corpus: texts and labels.
    """
    test = corpus.splits[TEST]
    predictions = TextClassifier(directory).logits(test["text"]).argmax(-1)
    return float((predictions == np.asarray(test["label"])).mean())


def print_figures(
    benchmarks: Mapping[str, Benchmark],
    sizes_mb: Mapping[str, float],
    accuracies: Mapping[str, Sequence[float]],
    seconds: Mapping[str, Sequence[float]],
) -> None:
    """Print a row for each artifact.

    Args:
        benchmarks: times of each variant.
        sizes_mb: size of each variant's weights.
        accuracies: test accuracy of each variant, seed by seed; PyTorch FP32 has none.
        seconds: training time of each variant, seed by seed.
    """
    headings = "".join(f"{f'1x{tokens} ms':>10}" for tokens in BENCHMARK_LENGTHS)
    print(
        f"{'':18}{'size MB':>9}{'load s':>8}{'peak MB':>9}{headings}"
        "   texts/s at 32x32  training s   accuracy by seed"
    )
    for name, times in benchmarks.items():
        points = [times.at(1, tokens) for tokens in BENCHMARK_LENGTHS]
        latencies = "".join(f"{point.p50_ms:10.3f}" for point in points)
        spread = max(point.spread for point in points)
        throughput = times.at(*LARGE_BATCH).throughput_per_s
        trained = f"{statistics.median(seconds[name]):10.0f}" if name in seconds else " " * 10
        seeds = " ".join(f"{value:.4f}" for value in accuracies.get(name, []))
        mean = f" mean {statistics.mean(accuracies[name]):.4f}" if name in accuracies else ""
        print(
            f"{name:18}{sizes_mb[name]:9.2f}{times.load_s:8.2f}{times.peak_mb:9.0f}{latencies}"
            f"{throughput:12.0f}       {trained}   {seeds}{mean} (spread {spread:.2f})"
        )


def print_static(static: StaticEmbeddings) -> None:
    """Print the row of static embeddings, whose times have tokenizing in them.

    Args:
        static: what they give.
    """
    latencies = "".join(f"{static.p50_ms[tokens]:10.3f}" for tokens in BENCHMARK_LENGTHS)
    print(
        f"{'model2vec':18}{static.size_mb:9.2f}{'':17}{latencies}{static.texts_per_s:12.0f}"
        f"       {static.training_s:10.0f}   {static.accuracy:.4f}"
    )


def lead(variant: str, benchmarks: Mapping[str, Benchmark]) -> Lead:
    """Compare the times of an INT8 export with those of its peers and of PyTorch FP32.

    Args:
        variant: the export.
        benchmarks: times of each variant.
    """
    export = benchmarks[variant]
    over_peers = [
        min(benchmarks[peer].at(*shape).p50_ms for peer in PEERS) / export.at(*shape).p50_ms
        for shape in SHAPES
    ]
    over_pytorch = [
        benchmarks[FP32].at(1, tokens).p50_ms / export.at(1, tokens).p50_ms
        for tokens in BENCHMARK_LENGTHS
    ]
    return Lead(variant, over_peers, over_pytorch)


def promises(export: Lead, accuracies: Mapping[str, Sequence[float]]) -> list[Promise]:
    """List what was promised of the faster export.

    Args:
        export: lead of that export.
        accuracies: test accuracy of each variant, seed by seed.
    """
    name = export.variant
    best_peer = max(statistics.mean(accuracies[peer]) for peer in PEERS)
    gain = statistics.mean(accuracies[name]) - best_peer
    least, eager = min(export.over_peers), min(export.over_pytorch)
    figures = [
        (f"fastest peer's time over {name}'s, least", least, 1.3, " times"),
        (f"fastest peer's time over {name}'s, geometric mean", export.mean, 1.4, " times"),
        (f"PyTorch FP32's time over {name}'s at batch 1, least", eager, 6.0, " times"),
        (f"mean accuracy of {name} minus the best peer's", gain, 0.0, ""),
    ]
    return [Promise(*figure, bound="at least") for figure in figures]


if __name__ == "__main__":
    sys.exit(main())
