"""The pipeline's INT8 exports against what people would deploy instead, all from the same FP32 fine-tune.

python benchmarks/peers.py [--data-dir DIR] [--model DIR] [--seeds N]

Peers, each built here with its tool's defaults from the run's FP32 model, which they get as it is: ONNX Runtime FP32, ONNX
Runtime dynamic quantization, OpenVINO FP32, OpenVINO with NNCF post-training quantization (300 training texts); and PyTorch
FP32 (eager). Latency and throughput on one thread, one process each, taking turns; accuracy on the whole test split, every
seed trained anew.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
from pathlib import Path

from pipeline.console import quiet

quiet.third_parties()

import numpy as np
from _process import conclude, measure, tracked_in
from mlflow.tracking import MlflowClient
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.config.schema import BenchmarkConfig, DatasetConfig
from pipeline.data.corpus import Corpus, load_corpus
from pipeline.evaluation.benchmark import Benchmark, benchmark
from pipeline.inference.classifier import ONNX_FILE, OPENVINO_FILE, TextClassifier, pad
from pipeline.models.artifact import Artifact
from pipeline.models.export import INPUTS, to_onnx
from pipeline.models.inference_graph import Plain

LENGTHS = (16, 32, 128)
OURS = ("onnx_int8", "openvino_int8")
PEERS = ("ort_fp32", "ort_dynamic_ptq", "ov_fp32", "ov_nncf_ptq")


def build_peers(fp32: Path, tokenizer_from: Path, corpus: Corpus, folder: Path) -> list[Artifact]:
    """Write one directory a peer, in the layout that pipeline.inference.classifier loads."""
    import nncf
    import openvino
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = AutoModelForSequenceClassification.from_pretrained(
        fp32, attn_implementation="eager"
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(fp32)
    directories = {name: folder / name for name in PEERS}
    for directory in directories.values():
        directory.mkdir(parents=True)
        for name in ("config.json", "tokenizer.json"):
            (directory / name).write_bytes((tokenizer_from / name).read_bytes())
    source = directories["ort_fp32"] / ONNX_FILE
    to_onnx(Plain(model), source)
    quantize_dynamic(
        source,
        directories["ort_dynamic_ptq"] / ONNX_FILE,
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    converted = openvino.Core().read_model(source)
    openvino.save_model(converted, directories["ov_fp32"] / OPENVINO_FILE, compress_to_fp16=False)
    texts = corpus.splits["train"].shuffle(seed=0)[:300]["text"]
    rows = [tokenizer(text, truncation=True, max_length=128)["input_ids"] for text in texts]
    calibration = nncf.Dataset(rows, lambda row: dict(zip(INPUTS, pad([row], 0), strict=True)))
    with contextlib.redirect_stdout(io.StringIO()):
        quantized = nncf.quantize(converted, calibration, model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(
        quantized, directories["ov_nncf_ptq"] / OPENVINO_FILE, compress_to_fp16=False
    )
    return [Artifact(name, directory) for name, directory in directories.items()]


def accuracy(directory: Path, corpus: Corpus) -> float:
    """Test accuracy of a directory's files, from texts."""
    test = corpus.splits["test"]
    predicted = TextClassifier(directory).logits(test["text"]).argmax(-1)
    return float((predicted == np.asarray(test["label"])).mean())


def show(
    benchmarks: dict[str, Benchmark], sizes: dict[str, float], accuracies: dict[str, list[float]]
) -> None:
    """Print one row an artifact."""
    print(
        f"{'':18}{'size MB':>9}{'load s':>8}{'peak MB':>9}"
        + "".join(f"{f'1x{n} ms':>10}" for n in LENGTHS)
        + "   texts/s at 32x32   accuracy by seed"
    )
    for name, measured in benchmarks.items():
        latencies = "".join(f"{measured.at(1, tokens).p50_ms:10.3f}" for tokens in LENGTHS)
        spread = max(measured.at(1, tokens).spread for tokens in LENGTHS)
        seeds = " ".join(f"{value:.4f}" for value in accuracies.get(name, []))
        mean = f" mean {statistics.mean(accuracies[name]):.4f}" if name in accuracies else ""
        print(
            f"{name:18}{sizes[name]:9.2f}{measured.load_s:8.2f}{measured.peak_mb:9.0f}{latencies}"
            f"{measured.at(32, 32).throughput_per_s:12.0f}         {seeds}{mean} (spread {spread:.2f})"
        )


def main() -> None:
    """Train, build, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="assets/minilm")
    parser.add_argument("--data-dir", default="assets/reviews")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("overrides", nargs="*", help="of the runs, as for python -m pipeline")
    options = parser.parse_args()
    corpus = load_corpus(DatasetConfig(name="corpus", data_dir=options.data_dir))
    accuracies: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            run = train(options, seed, folder)
            peers = build_peers(
                run / "fp32", run / "onnx_fp32", corpus, Path(folder) / f"peers-{seed}"
            )
            ours = [Artifact(name, run / name) for name in OURS]
            for artifact in (*peers, *ours):
                accuracies.setdefault(artifact.variant, []).append(accuracy(artifact.path, corpus))
            print(
                f"seed {seed}:",
                ", ".join(f"{name} {values[-1]:.4f}" for name, values in accuracies.items()),
                flush=True,
            )
        everyone = [Artifact("fp32", run / "fp32"), *peers, *ours]
        measured = benchmark(
            everyone,
            corpus.splits["test"]["text"],
            128,
            BenchmarkConfig(options.repetitions, 0.5, 1),
        )
        show(measured, {artifact.variant: artifact.size_mb for artifact in everyone}, accuracies)
    judge(measured, accuracies)


def train(options: argparse.Namespace, seed: int, folder: str) -> Path:
    """Run the pipeline with one seed; returns the run's artifacts."""
    measure(
        *(
            "-m",
            "pipeline",
            "experiment=emotion",
            f"model.name_or_path={options.model}",
            "model.num_hidden_layers=2",
        ),
        *(
            f"dataset.data_dir={options.data_dir}",
            "dataset.label_names=null",
            f"trainer.seed={seed}",
            "benchmark=none",
        ),
        *(*tracked_in(folder), *options.overrides),
    )
    (newest,) = MlflowClient(f"sqlite:///{folder}/mlflow.db").search_runs(
        ["1"], order_by=["start_time DESC"], max_results=1
    )
    return Path(newest.info.artifact_uri.removeprefix("file://"))


def judge(measured: dict[str, Benchmark], accuracies: dict[str, list[float]]) -> None:
    """Print the ratios beside what was promised of them."""
    points = [(1, tokens) for tokens in LENGTHS] + [(32, 32)]
    promises = []
    for name in OURS:
        ratios = [
            min(measured[peer].at(*point).p50_ms for peer in PEERS)
            / measured[name].at(*point).p50_ms
            for point in points
        ]
        eager = [
            measured["fp32"].at(1, tokens).p50_ms / measured[name].at(1, tokens).p50_ms
            for tokens in LENGTHS
        ]
        print(
            f"{name}: times as fast as the fastest peer at 1x16, 1x32, 1x128, 32x32:",
            *(f"{ratio:.2f}" for ratio in ratios),
        )
        promises.append((name, min(ratios), statistics.geometric_mean(ratios), min(eager)))
    name, least, mean, eager = max(promises, key=lambda promise: promise[2])
    best_peer = max(statistics.mean(accuracies[peer]) for peer in PEERS)
    conclude(
        [
            (f"fastest peer's time over {name}'s, least", least, " times", 1.3),
            (f"fastest peer's time over {name}'s, geometric mean", mean, " times", 1.4),
            (f"PyTorch FP32's time over {name}'s at batch 1, least", eager, " times", 6.0),
            (
                f"mean accuracy of {name} minus the best peer's",
                statistics.mean(accuracies[name]) - best_peer,
                "",
                0.0,
            ),
        ],
        at_least=True,
    )


if __name__ == "__main__":
    main()
