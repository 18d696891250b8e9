"""One experiment, top to bottom."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedTokenizerFast, set_seed

from pipeline import report
from pipeline.artifact import Artifact, check_reload, load, save_fp32, save_int8
from pipeline.compression import phases
from pipeline.config import Config
from pipeline.data import collator, load_corpus, tokenize
from pipeline.evaluation import Metrics, predict_logits, score
from pipeline.model import load_model, load_tokenizer
from pipeline.tracking import Tracker, open_run
from pipeline.training import Trained, train

log = logging.getLogger(__name__)

TestLogits = Callable[[torch.nn.Module], np.ndarray]


def run(config: Config) -> float:
    """Fine-tune, quantize, store, reload and measure one model.

    Args:
        config: the resolved config.

    Returns:
        Test accuracy of the shipped artifact, which is what a sweep maximizes.

    Raises:
        PipelineError: with the one line that tells what to mend; the run in MLflow is then FAILED.
    """
    with tempfile.TemporaryDirectory(prefix="pipeline-") as scratch, open_run(config) as tracker:
        accuracy = _experiment(config, tracker, Path(scratch))
    log.info("run %s is FINISHED; next: %s", tracker.name, tracker.next_step)
    return accuracy


def _experiment(config: Config, tracker: Tracker, scratch: Path) -> float:
    started = time.perf_counter()
    reports = scratch / "reports"
    reports.mkdir()
    set_seed(config.trainer.seed)

    # Load the corpus, and the tokenizer and model with its number of labels.
    corpus = load_corpus(config.dataset)
    tokenizer = load_tokenizer(config.model, config.dataset.max_length)
    model = load_model(config.model, corpus.label_names)
    pretrained_config = deepcopy(model.config)

    # Tokenize, and describe what the model will see.
    tokens = tokenize(corpus, tokenizer, config.dataset)
    collate = collator(tokenizer, config.dataset)
    description = report.describe(corpus, tokens, config.dataset.max_length)
    report.write_corpus(reports, corpus, tokens, description, config.dataset.max_length)
    report.show_corpus(corpus.name, description)
    tracker.log_corpus(corpus)
    tracker.log_figures(description.figures)

    # The accuracy before training: a pretrained encoder under a random head.
    test_labels = np.asarray(tokens["test"]["labels"])
    test_logits = partial(
        predict_logits, rows=tokens["test"], collate=collate, batch_size=config.trainer.per_device_eval_batch_size
    )
    pretrained = score(test_logits(model), test_labels)
    tracker.log_figures({"pretrained/accuracy": pretrained.accuracy, "pretrained/loss": pretrained.loss})
    log.info("before training: test accuracy %.4f, loss %.4f", pretrained.accuracy, pretrained.loss)

    # Train the recipe's phases with INCTrainer; the last one may end in INT8.
    done: list[Trained] = []
    for phase in phases(config.qat, config.trainer):
        trained = train(
            model,
            phase,
            tokens,
            tokenizer,
            collate,
            scratch,
            tracker.log_curves,
            classification_token_only=config.model.classification_token_only,
            first_step=sum(earlier.steps for earlier in done),
        )
        tracker.log_figures({f"time/{phase.name}_s": trained.seconds})
        model = trained.model
        done.append(trained)
    report.write_statistics(reports, done[-1].op_statistics)
    variant, validation = done[-1].variant, done[-1].evaluate()
    tracker.log_figures({f"{variant}/validation_{name}": value for name, value in validation.items()})
    log.info("in memory, %s: validation accuracy %.4f, loss %.4f", variant, validation["accuracy"], validation["loss"])

    # Save, store, reload and evaluate the variants: the figures of the run are those of the stored files.
    metrics, sizes_mb = {}, {}
    for saved, in_memory in _save(done, pretrained_config, tokenizer, scratch):
        stored = Artifact(saved.variant, tracker.log_folder(saved.path, saved.variant))
        logits = test_logits(load(stored))
        difference = check_reload(stored.variant, test_logits(in_memory), logits)
        tracker.log_figures({f"{stored.variant}/reload_max_abs_difference": difference})
        metrics[stored.variant] = score(logits, test_labels)
        sizes_mb[stored.variant] = stored.size_mb

    # Log what a sweep is sorted by, and make sure that everything promised is there.
    tracker.log_figures(_final_figures(metrics, sizes_mb))
    tracker.log_figures({"time/total_s": time.perf_counter() - started})
    report.write_metrics(reports, metrics, sizes_mb, corpus.label_names)
    tracker.log_folder(reports, "reports")
    tracker.check_promised(("config", "reports", *metrics))
    report.show_metrics(metrics, sizes_mb, f"{corpus.name}: {len(test_labels):,} test texts, reloaded from MLflow")
    return metrics[stored.variant].accuracy


def _save(
    done: Sequence[Trained], config: PretrainedConfig, tokenizer: PreTrainedTokenizerFast, scratch: Path
) -> list[tuple[Artifact, torch.nn.Module]]:
    """Save every variant beside its model in memory, the shipped one last.

    FP32 is the last phase before quantization, or the float weights of a recipe whose only phase quantizes.
    """
    shipped = done[-1]
    float_phase = next((trained for trained in reversed(done) if not trained.quantized), shipped)
    fp32 = float_phase.float_model(config)
    saved: list[tuple[Artifact, torch.nn.Module]] = [(save_fp32(fp32, tokenizer, scratch / "fp32"), fp32)]
    if shipped.quantized:
        saved.append((save_int8(shipped.trainer, scratch / "int8"), shipped.model))
    return saved


def _final_figures(metrics: Mapping[str, Metrics], sizes_mb: Mapping[str, float]) -> dict[str, float]:
    """Name the figures of every variant with its prefix, and those of the shipped one (the last) without."""
    figures = {
        f"{variant}/{name}": value
        for variant, measured in metrics.items()
        for name, value in {**measured.scalars, "size_mb": sizes_mb[variant]}.items()
    }
    shipped = list(metrics)[-1]
    return {
        **figures,
        **metrics[shipped].scalars,
        "accuracy_drop": metrics["fp32"].accuracy - metrics[shipped].accuracy,
        "size_ratio": sizes_mb[shipped] / sizes_mb["fp32"],
    }
