"""One experiment, top to bottom."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedTokenizerFast, set_seed

from pipeline.compression.inc_configs import module_names
from pipeline.compression.layer_errors import layer_errors
from pipeline.compression.weight_pruning import sparsity
from pipeline.config.identity import weights_of
from pipeline.config.schema import FP32_FORMATS, INT8_FORMATS, Config
from pipeline.data.corpus import Collate, collator, load_corpus, tokenize
from pipeline.evaluation.benchmark import Benchmark, benchmark, choose
from pipeline.evaluation.metrics import NOT_FOR_MODELS, Result, check_export, predict_logits, score
from pipeline.inference.classifier import TextClassifier
from pipeline.models.artifact import Artifact, check_reload, load, save_fp32, save_int8
from pipeline.models.export import ONNX_OPS, check_exportable, export
from pipeline.models.load import check_quantizable, load_model, load_tokenizer
from pipeline.models.vocabulary import cut_model, cut_tokenizer, kept_ids
from pipeline.reports import corpus as corpus_report
from pipeline.reports import results as results_report
from pipeline.reports.model import expected_calibration_error, write_model_report
from pipeline.reports.run_page import PAGE, write_report
from pipeline.sweeps.median_pruner import pruned
from pipeline.tracking.run_names import description
from pipeline.tracking.tracker import Tracker, open_run
from pipeline.training.callbacks import LogMetrics
from pipeline.training.checkpoints import open_checkpoints
from pipeline.training.post_training import check_calibration
from pipeline.training.recipe import Inputs, train_recipe
from pipeline.training.stage import Stage

LAYER_ROWS = 64  # validation texts that the error of each module is measured on
log = logging.getLogger(__name__)

TestLogits = Callable[[torch.nn.Module], np.ndarray]


def run(config: Config) -> str:
    """Fine-tune, quantize, store, reload and measure one model.

    Args:
        config: the resolved config.

    Returns:
        The id of the run, which has the figures.

    Raises:
        PrunedError: the sweep's pruner stopped it; the run in MLflow is then KILLED, with the tag `pruned`.
        PipelineError: with the one line that tells what to mend; the run in MLflow is then FAILED.
    """
    with tempfile.TemporaryDirectory(prefix="pipeline-") as scratch, open_run(config) as tracker:
        _experiment(config, tracker, Path(scratch))
    log.info("run %s is FINISHED; next: %s", tracker.name, tracker.next_step)
    return tracker.run_id


def _experiment(config: Config, tracker: Tracker, scratch: Path) -> None:
    started = time.perf_counter()
    reports = scratch / "reports"
    reports.mkdir()
    set_seed(config.trainer.seed)

    # Load the corpus, and the tokenizer and model with its number of labels.
    corpus = load_corpus(config.dataset)
    tokenizer = load_tokenizer(config.model, config.dataset.max_length)
    model = load_model(config.model, corpus.label_names)
    pretrained_config = deepcopy(model.config)
    if config.qat.quantizes:
        check_quantizable(model)
    fp32_modules = module_names(model, config.qat.fp32_modules)
    if config.export.formats:
        check_exportable(model)
    checkpoints = open_checkpoints(config.trainer, weights_of(config, corpus), scratch)

    # Tokenize, and describe what the model will see.
    tokens = tokenize(corpus, tokenizer, config.dataset)
    collate = collator(tokenizer, config.dataset)
    if config.qat.post_training is not None:
        check_calibration(config.qat.post_training, tokens["train"])
    described = corpus_report.describe(corpus, tokens, config.dataset.max_length)
    corpus_report.write_corpus(reports, corpus, tokens, described, config.dataset.max_length)
    corpus_report.show_corpus(corpus.name, described)
    tracker.log_corpus(corpus)
    tracker.log_figures(described.figures)

    # The accuracy before training: a pretrained encoder under a random head.
    test_labels = np.asarray(tokens["test"]["labels"])
    test_logits = partial(
        predict_logits,
        rows=tokens["test"],
        collate=collate,
        batch_size=config.trainer.per_device_eval_batch_size,
    )
    pretrained = score(test_logits(model), test_labels)
    tracker.log_figures(
        {"pretrained/accuracy": pretrained.accuracy, "pretrained/loss": pretrained.loss}
    )
    log.info("before training: test accuracy %.4f, loss %.4f", pretrained.accuracy, pretrained.loss)

    # Train the recipe; its last stage may be INT8. A sweep may stop a job without hope.
    log_curves: LogMetrics = tracker.log_curves
    if config.sweep.pruner is not None and config.sweep.parent_run_id is not None:
        log_curves = pruned(log_curves, config.sweep, tracker.finished_siblings)
    inputs = Inputs(corpus, tokens, tokenizer, collate, checkpoints, fp32_modules)
    done = train_recipe(config, model, inputs, log_curves, tracker.log_figures, scratch)
    results_report.write_statistics(reports, done[-1].op_statistics)
    if done[-1].quantized:
        batch = _batch(tokens["validation"], collate)
        layers = layer_errors(
            done[-1].float_model(pretrained_config), done[-1].model, batch, done[-1].int8_modules
        )
        layers.to_csv(reports / "layers.csv", index=False)
    variant, validation = done[-1].variant, done[-1].evaluate()
    tracker.log_figures(
        {f"{variant}/validation_{name}": value for name, value in validation.items()}
    )
    log.info(
        "in memory, %s: validation accuracy %.4f, loss %.4f",
        variant,
        validation["accuracy"],
        validation["loss"],
    )

    # Save what was trained, store it, reload it and evaluate: the figures of the run are those of the stored files.
    results: dict[str, Result] = {}
    for saved, in_memory in _save(done, pretrained_config, tokenizer, scratch):
        stored = Artifact(saved.variant, tracker.log_folder(saved.path, saved.variant))
        reloaded = load(stored)
        logits = test_logits(reloaded)
        difference = check_reload(stored.variant, test_logits(in_memory), logits)
        tracker.log_figures({f"{stored.variant}/reload_max_abs_difference": difference})
        results[stored.variant] = Result(stored, logits, score(logits, test_labels))
        if config.pruning is not None:
            tracker.log_figures({f"{stored.variant}/sparsity": sparsity(reloaded)})

    # Export to the runtimes that people deploy, and evaluate those files from the texts on.
    for saved, trained_as in _export(config, done, pretrained_config, tokenizer, tokens, scratch):
        stored = Artifact(saved.variant, tracker.log_folder(saved.path, saved.variant))
        logits = TextClassifier(stored.path).logits(corpus.splits["test"]["text"])
        results[stored.variant] = Result(stored, logits, score(logits, test_labels))
        limit = config.export.max_accuracy_loss
        differing = check_export(results[stored.variant], results[trained_as], test_labels, limit)
        tracker.log_figures({f"{stored.variant}/differing_predictions": differing})

    # Time all of them side by side, and choose the one to ship.
    artifacts = [result.artifact for result in results.values()]
    benchmarks = benchmark(
        artifacts, corpus.splits["test"]["text"], config.dataset.max_length, config.benchmark
    )
    shipped = choose(config.export.ship, list(results), benchmarks)
    if shipped in config.export.formats:
        tracker.log_model(
            results[shipped].artifact.path, shipped, corpus.splits["test"]["text"][:2]
        )

    # Log what a sweep is sorted by, and make sure that everything promised is there.
    tracker.log_figures(final_figures(results, benchmarks, shipped))
    tracker.log_figures(
        {
            f"{name}/ece": expected_calibration_error(found.logits, test_labels)
            for name, found in results.items()
        }
    )
    tracker.log_figures({"time/total_s": time.perf_counter() - started})
    results_report.write_results(reports, results, benchmarks, test_labels, corpus.label_names)
    write_model_report(reports, results, corpus.splits["test"], tokens["test"], corpus.label_names)
    write_report(
        reports, tracker.name, description(config), config.dataset.max_length, reports / PAGE
    )
    tracker.log_folder(reports, "reports")
    tracker.check_promised(("config", "reports", *results))
    results_report.show_results(
        results, benchmarks, f"{corpus.name}: {len(test_labels):,} test texts, reloaded from MLflow"
    )
    log.info("shipped: %s", shipped)


def _batch(rows: datasets.Dataset, collate: Collate) -> Mapping[str, torch.Tensor]:
    """The first rows as a batch for a model, without labels."""
    inputs = rows.select_columns([name for name in rows.column_names if name not in NOT_FOR_MODELS])
    return collate(list(inputs.take(min(LAYER_ROWS, len(inputs)))))


def _save(
    done: Sequence[Stage],
    config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerFast,
    scratch: Path,
) -> list[tuple[Artifact, torch.nn.Module]]:
    """Save the FP32 model, and the INT8 one if there is one, each beside its model in memory."""
    shipped = done[-1]
    fp32 = float_stage(done).float_model(config)
    saved: list[tuple[Artifact, torch.nn.Module]] = [
        (save_fp32(fp32, tokenizer, scratch / "fp32"), fp32)
    ]
    if shipped.quantized:
        saved.append((save_int8(shipped, tokenizer, scratch / "int8"), shipped.model))
    return saved


def float_stage(done: Sequence[Stage]) -> Stage:
    """Return the last stage before quantization, or a recipe's only one, whose float weights then stand for FP32."""
    return next((stage for stage in reversed(done) if not stage.quantized), done[-1])


def _export(
    config: Config,
    done: Sequence[Stage],
    model_config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerFast,
    tokens: Mapping[str, datasets.Dataset],
    scratch: Path,
) -> list[tuple[Artifact, str]]:
    """Export FP32 formats from the FP32 model, INT8 formats from the weights that QAT trained; name the variant of each."""
    shipped = done[-1]
    int8 = [name for name in config.export.formats if name in INT8_FORMATS and shipped.quantized]
    fp32 = [name for name in config.export.formats if name in FP32_FORMATS]
    shuffled = tokens["train"].shuffle(seed=config.trainer.seed, keep_in_memory=True)
    calibration = shuffled[: config.export.calibration_samples]["input_ids"]
    quantized = [op_type for op_type in ONNX_OPS if op_type not in config.qat.fp32_op_types]
    max_length, exported = config.dataset.max_length, []
    pairs = config.dataset.text_pair_column is not None
    if fp32:
        reference = float_stage(done).float_model(model_config)
        made = export(
            reference, tokenizer, max_length, calibration, fp32, quantized, scratch, pairs=pairs
        )
        exported += [(artifact, "fp32") for artifact in made]
    if int8:
        model = shipped.float_model(model_config)
        if config.export.vocabulary == "corpus":
            kept = kept_ids(tokenizer, tokens["train"]["input_ids"])
            model, tokenizer = cut_model(model, kept), cut_tokenizer(tokenizer, kept)
            calibration = [np.searchsorted(kept, row) for row in calibration]
        made = export(
            model, tokenizer, max_length, calibration, int8, quantized, scratch, pairs=pairs
        )
        exported += [(artifact, "int8") for artifact in made]
    return exported


def final_figures(
    results: Mapping[str, Result], benchmarks: Mapping[str, Benchmark], shipped: str
) -> dict[str, float]:
    """Name the figures of every variant with its prefix, and what a sweep is sorted by without: those of the shipped one.

    Args:
        results: by variant; fp32 is among them.
        benchmarks: by variant; may be empty.
        shipped: the variant.
    """
    figures = {}
    for variant, result in results.items():
        for name, value in {**result.metrics.scalars, "size_mb": result.artifact.size_mb}.items():
            figures[f"{variant}/{name}"] = value
    for measured in benchmarks.values():
        figures |= measured.figures
    fp32, best = results["fp32"], results[shipped]
    figures |= {
        **best.metrics.scalars,
        "accuracy_drop": fp32.metrics.accuracy - best.metrics.accuracy,
        "size_ratio": best.artifact.size_mb / fp32.artifact.size_mb,
    }
    if benchmarks:
        figures["speedup"] = (
            benchmarks["fp32"].at(1, None).p50_ms / benchmarks[shipped].at(1, None).p50_ms
        )
    return figures
