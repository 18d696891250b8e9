"""Run one configuration from top to bottom: fine-tune, quantize, store, reload and measure."""

import logging
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipeline.compression.layer_errors import layer_errors
from pipeline.compression.weight_pruning import sparsity
from pipeline.config.identity import Ingredients, baseline_key, weights_identity
from pipeline.config.schema import Config
from pipeline.data.cache import cached
from pipeline.data.corpus import Corpus
from pipeline.data.tokens import integers
from pipeline.evaluation.agreement import check_export, check_reload, disagreement
from pipeline.evaluation.benchmark import Benchmark, benchmark, choose
from pipeline.evaluation.metrics import model_inputs
from pipeline.evaluation.results import Answers, Result, final_figures, result_of
from pipeline.evaluation.significance import beats_baseline
from pipeline.inference.classifier import TextClassifier
from pipeline.models.artifact import Artifact, load
from pipeline.names import (
    ACCURACY,
    BASELINE_TAG,
    CONFIG,
    DESCRIPTION_TAG,
    DIFFERING_PREDICTIONS,
    LINEAR,
    LOSS,
    PRETRAINED,
    RELOAD_MAX_ABS_DIFFERENCE,
    REPORT_PAGE,
    REPORTS,
    SPARSITY,
    TEACHER,
    TEST,
    TOTAL_TIME,
    TRAIN,
    VALIDATION,
    VALIDATION_ACCURACY,
    VALIDATION_F1_MACRO,
    VALIDATION_LOSS,
    figure_of,
    time_of,
)
from pipeline.prepare import Context, Prepared, prepare
from pipeline.reports import results as results_report
from pipeline.reports.model import write_model_report
from pipeline.reports.run_page import write_report
from pipeline.sweeps.pruners import with_pruner
from pipeline.tracking.run_names import description
from pipeline.tracking.tracker import open_run
from pipeline.training.artifacts import export_stages, save_stages
from pipeline.training.callbacks import LogCurves
from pipeline.training.checkpoints import open_checkpoints
from pipeline.training.distillation import teach
from pipeline.training.ingredients import commits_of, ingredients_of
from pipeline.training.recipe import train_recipe
from pipeline.training.stage import Stage
from pipeline.training.teaching import Teaching

LAYER_ROWS = 64  # validation texts that the error of each module is measured on
EXAMPLE_TEXTS = 2  # in the MLflow model's input example
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shipped:
    """The artifact that a run ships, and what the artifacts cost to run.

    Args:
        variant: the artifact.
        benchmarks: benchmark of each variant; empty if nothing was timed.
    """

    variant: str
    benchmarks: Mapping[str, Benchmark]


def run(config: Config, corpus: Corpus) -> str:
    """Fine-tune, quantize, store, reload and measure one model.

    Args:
        config: resolved config of the run.
        corpus: its labelled texts, which were read before this module and torch were imported, so
            that what is wrong with them is told at once.

    Returns:
        The id of the run, which has the figures.

    Raises:
        JobPrunedError: the sweep's pruner stopped it; the run in MLflow is then KILLED, with the
            tag `pruned`.
        PipelineError: with a line that says what to change; the run in MLflow is then FAILED.
    """
    ingredients = ingredients_of(config, corpus)
    identity = weights_identity(config, ingredients)
    with (
        tempfile.TemporaryDirectory(prefix="pipeline-") as scratch,
        open_run(config) as tracker,
        open_checkpoints(config, identity, Path(scratch)) as checkpoints,
    ):
        started = time.perf_counter()
        context = Context(config, tracker, Path(scratch), checkpoints)
        context.reports.mkdir()
        tracker.log_tags({**ingredients.tags, **commits_of(ingredients, corpus)})
        prepared = prepare(context, corpus)
        evaluate_untrained(context, prepared)
        results = compare_with_baseline(context, prepared, ingredients)
        teaching = ask_teacher(context, prepared)
        results |= {} if teaching is None else {TEACHER: teaching.result}
        stages = train(context, prepared, teaching)
        results |= store_and_reload(context, prepared, stages)
        results |= export_and_compare(context, prepared, stages, results)
        shipped = ship(context, prepared, results)
        tracker.log_figures({TOTAL_TIME: time.perf_counter() - started})
        write_reports(context, prepared, results, shipped)
    log.info("run %s is FINISHED; next: %s", tracker.name, tracker.next_step)
    return tracker.run_id


def evaluate_untrained(context: Context, prepared: Prepared) -> None:
    """Evaluate the model as it was loaded, and log the corpus's own figures.

    In this order: MLflow's page of several runs compares them by what was logged first, which is
    the curve of the validation accuracy.

    Args:
        context: the tracker.
        prepared: the model, and the corpus.
    """
    model, tracker = prepared.start.model, context.tracker
    before, on_test = prepared.validation.metrics(model), prepared.test.metrics(model)
    curves = {VALIDATION_ACCURACY: before.accuracy, VALIDATION_LOSS: before.loss}
    tracker.log_curves(curves | {VALIDATION_F1_MACRO: before.f1_macro}, 0)
    untrained = {ACCURACY: on_test.accuracy, LOSS: on_test.loss}
    tracker.log_figures({figure_of(PRETRAINED, name): value for name, value in untrained.items()})
    tracker.log_figures(prepared.corpus_figures)
    line = "before training: validation accuracy %.4f, loss %.4f"
    log.info(line, before.accuracy, before.loss)


def compare_with_baseline(
    context: Context, prepared: Prepared, ingredients: Ingredients
) -> dict[str, Result]:
    """Train the linear model, which takes seconds, and evaluate what is loaded from the store.

    Args:
        context: config, tracker and scratch folder.
        prepared: corpus and evaluators.
        ingredients: what the run depends on; runs on the same texts share the model.

    Returns:
        The result of the linear model; empty without a baseline.
    """
    config, corpus = context.config.baseline, prepared.corpus
    if config is None:
        return {}
    from pipeline.baseline import linear  # with all of scikit-learn: a fifth of a run's imports

    started = time.perf_counter()
    train_split, folder = corpus.splits[TRAIN], context.scratch / LINEAR
    labels = [corpus.label_names[label] for label in integers(train_split, "label")]
    seed = context.config.dataset.split_seed

    def write(entry: Path) -> None:
        linear.save(linear.train(train_split["text"], labels, config, seed), entry)

    def read(entry: Path) -> None:
        linear.LinearClassifier(entry)  # one that is damaged, or of another version, is told here
        shutil.copytree(entry, folder)

    cached(f"{LINEAR}-{baseline_key(config, seed, ingredients)}", write, read)
    context.tracker.log_figures({time_of(LINEAR): time.perf_counter() - started})
    stored = _stored(context, Artifact(LINEAR, folder))
    classifier = linear.LinearClassifier(stored.path)
    test, validation = (
        Answers(classifier.logits(corpus.splits[split]["text"], corpus.label_names), truth)
        for split, truth in (
            (TEST, prepared.test.labels),
            (VALIDATION, prepared.validation.labels),
        )
    )
    result = result_of(stored, test, validation)
    accuracy = result.validation_metrics.accuracy
    seconds = time.perf_counter() - started
    log.info("linear model: validation accuracy %.4f, after %.1f s", accuracy, seconds)
    return {LINEAR: result}


def ask_teacher(context: Context, prepared: Prepared) -> Teaching | None:
    """Let the teacher, if there is one, answer the texts; runs that it teaches share its answers.

    Args:
        context: the scratch folder.
        prepared: the teacher.
    """
    return None if prepared.teacher is None else teach(prepared.teacher, context.scratch)


def train(context: Context, prepared: Prepared, teaching: Teaching | None) -> list[Stage]:
    """Train the recipe; its last stage may be INT8. A sweep may stop a job that has no hope.

    Args:
        context: config, tracker and scratch folder.
        prepared: model and inputs.
        teaching: the answers of a teacher; None without distillation.
    """
    config, tracker = context.config, context.tracker
    log_curves: LogCurves = tracker.log_curves
    if config.sweep.pruner is not None and config.sweep.parent_run_id is not None:
        log_curves = with_pruner(log_curves, config.sweep, tracker.sibling_curves)
    inputs = replace(prepared.inputs, teaching=teaching)
    stages = train_recipe(config, prepared.start, inputs, log_curves, tracker.log_figures)
    _describe_quantization(context, prepared, stages[-1])
    figures, variant = stages[-1].evaluate(), stages[-1].variant
    line = "in memory, %s: validation accuracy %.4f, loss %.4f"
    log.info(line, variant, figures[ACCURACY], figures[LOSS])
    return stages


def _describe_quantization(context: Context, prepared: Prepared, stage: Stage) -> None:
    results_report.write_statistics(context.reports, stage.op_statistics)
    if not stage.quantized:
        return
    rows = model_inputs(prepared.validation.rows)
    batch: Mapping[str, torch.Tensor] = prepared.inputs.collate(
        list(rows.take(min(LAYER_ROWS, len(rows))))
    )
    float_model = stage.float_model(prepared.model_config)
    layers = layer_errors(float_model, stage.model, batch, stage.int8_modules)
    results_report.write_layers(context.reports, layers)


def store_and_reload(
    context: Context, prepared: Prepared, stages: Sequence[Stage]
) -> dict[str, Result]:
    """Store the FP32 model and the INT8 one, and evaluate what is loaded from the store.

    Args:
        context: config, tracker and scratch folder.
        prepared: tokenizer and evaluators.
        stages: stages of the recipe.

    Returns:
        The result of each variant: the figures of the run are those of the stored files.
    """
    results: dict[str, Result] = {}
    for saved in save_stages(stages, prepared.model_config, prepared.inputs, context.scratch):
        stored = _stored(context, saved.artifact)
        reloaded = load(stored)
        logits = prepared.test.logits(reloaded)
        difference = check_reload(stored.variant, prepared.test.logits(saved.in_memory), logits)
        name = figure_of(stored.variant, RELOAD_MAX_ABS_DIFFERENCE)
        context.tracker.log_figures({name: difference})
        if context.config.pruning is not None:
            name = figure_of(stored.variant, SPARSITY)
            context.tracker.log_figures({name: sparsity(reloaded)})
        results[stored.variant] = result_of(
            stored,
            Answers(logits, prepared.test.labels),
            Answers(prepared.validation.logits(reloaded), prepared.validation.labels),
        )
    return results


def _stored(context: Context, artifact: Artifact) -> Artifact:
    """Store an artifact, and return the stored copy."""
    path = context.tracker.log_folder(artifact.path, artifact.variant)
    return Artifact(artifact.variant, path)


def export_and_compare(
    context: Context, prepared: Prepared, stages: Sequence[Stage], trained: Mapping[str, Result]
) -> dict[str, Result]:
    """Export to the runtimes that people deploy, and evaluate those files from the texts on.

    Args:
        context: config, tracker and scratch folder.
        prepared: tokenizer, tokens and evaluators.
        stages: stages of the recipe.
        trained: results of the models in PyTorch.

    Returns:
        The result of each exported variant.

    Raises:
        PipelineError: an export is less accurate than the model that was trained.
    """
    results: dict[str, Result] = {}
    config, inputs = context.config, prepared.inputs
    texts = {split: prepared.corpus.splits[split]["text"] for split in (TEST, VALIDATION)}
    exports = export_stages(config, stages, prepared.model_config, inputs, context.scratch)
    for exported in exports:
        stored = _stored(context, exported.artifact)
        classifier = TextClassifier(stored.path)
        result = result_of(
            stored,
            Answers(classifier.logits(texts[TEST]), prepared.test.labels),
            Answers(classifier.logits(texts[VALIDATION]), prepared.validation.labels),
        )
        reference = trained[exported.trained_variant]
        limit = config.export.max_accuracy_loss
        check_export(result, reference, prepared.validation.labels, limit)
        name = figure_of(stored.variant, DIFFERING_PREDICTIONS)
        context.tracker.log_figures({name: disagreement(result, reference)})
        results[stored.variant] = result
    return results


def ship(context: Context, prepared: Prepared, results: Mapping[str, Result]) -> Shipped:
    """Time all artifacts side by side, choose the one to ship, and log its model and the figures.

    Args:
        context: config and tracker.
        prepared: corpus and evaluators.
        results: result of each variant.
    """
    config, tracker = context.config, context.tracker
    texts = prepared.corpus.splits[VALIDATION]["text"]  # their times choose what is shipped
    artifacts = [result.artifact for result in results.values()]
    benchmarks = benchmark(artifacts, texts, config.dataset.max_length, config.benchmark)
    variant = choose(config.export.ship, list(results), benchmarks)
    if variant in config.export.formats:
        tracker.log_model(results[variant].artifact.path, variant, texts[:EXAMPLE_TEXTS])
    tracker.log_figures(final_figures(results, benchmarks, variant))
    if LINEAR in results:
        labels = prepared.validation.labels
        verdict = beats_baseline(results[variant], results[LINEAR], labels)
        tracker.log_tags({BASELINE_TAG: verdict.line})
        if not verdict.is_better:
            log.warning("%s: a linear model would do", verdict.line)
    return Shipped(variant, benchmarks)


def write_reports(
    context: Context, prepared: Prepared, results: Mapping[str, Result], shipped: Shipped
) -> None:
    """Write and store the reports, and make sure that everything promised is there.

    Args:
        context: config, tracker and scratch folder.
        prepared: corpus, tokens and evaluators.
        results: result of each variant.
        shipped: the shipped artifact and the benchmarks.
    """
    folder, tracker, config = context.reports, context.tracker, context.config
    corpus, labels = prepared.corpus, prepared.test.labels
    results_report.write_results(folder, results, shipped.benchmarks, labels, corpus.label_names)
    write_model_report(folder, results, corpus.splits[TEST], prepared.test.rows, corpus.label_names)
    page = folder / REPORT_PAGE
    write_report(folder, tracker.name, description(config), config.dataset.max_length, page)
    tracker.log_folder(folder, REPORTS)
    tracker.check_promised((CONFIG, REPORTS, *(name for name in results if name != TEACHER)))
    figures = results_report.markdown_table(results, shipped.benchmarks, shipped.variant)
    tracker.log_tags({DESCRIPTION_TAG: f"{description(config)}\n\n{figures}"})
    title = f"{corpus.name}: {len(labels):,} test texts, reloaded from MLflow"
    results_report.show_results(results, shipped.benchmarks, title)
    if shipped.variant in config.export.formats:
        log.info("shipped: %s", shipped.variant)
    else:
        log.info(
            "no export, so nothing is shipped; the run's figures are those of %s",
            shipped.variant,
        )
