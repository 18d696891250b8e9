"""Train one phase of a recipe to a model in memory, with its Mixed Precision Statistics as data."""

import logging
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import datasets
import numpy as np
from neural_compressor import DistillationConfig
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
)

from pipeline.compression.fake_quantization import FakeQuantization
from pipeline.compression.modules import int8_modules
from pipeline.compression.statistics import captured_statistics
from pipeline.config.schema import ModelConfig
from pipeline.data.tokens import LABELS, LENGTH, NUM_TOKENS, Collate, Tokens, integers
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import Evaluator, label_metrics
from pipeline.models.first_token import FirstTokenOnly
from pipeline.models.layers import learning_rate_factors
from pipeline.models.load import Pretrained, is_pretrained
from pipeline.names import (
    SCORED,
    TRAIN,
    VALIDATION,
    bf16_of,
    epochs_of,
    kept_start_of,
    learning_rate_of,
    time_of,
)
from pipeline.training.arguments import training_arguments
from pipeline.training.callbacks import (
    Curves,
    EvaluationLines,
    FloatState,
    LastEvaluation,
    LogCurves,
    ProgressBar,
)
from pipeline.training.checkpoints import Checkpoints, PhaseEnd
from pipeline.training.embeddings import UsedRows, frozen
from pipeline.training.learning import (
    STEPS_FROM_SCRATCH,
    STEPS_OF_RESTART,
    LearningWatch,
    NothingLearnedError,
)
from pipeline.training.loss import Loss
from pipeline.training.phases import Phase
from pipeline.training.precision import with_precision
from pipeline.training.stage import Stage
from pipeline.training.trainer import AFTER_TRAINING, LossComputation, PhaseTrainer

log = logging.getLogger(__name__)
# Factors of the learning rate of a phase and of its restarts, where it learns nothing: too high a
# rate is common, and a task that only begins slowly is learned at a lower one too.
RESTARTS = (1.0, 1 / 3, 1 / 9)


@dataclass(frozen=True)
class TrainingInputs:
    """What all phases of a run train with.

    Args:
        splits: tokenized train and validation; train may have a teacher's logits.
        tokenizer: tokenizer that is saved beside the model.
        collate: pads a list of rows to tensors.
        loss: function that training minimizes.
        distillation: Neural Compressor's config of the teacher's share; None without a teacher.
        hidden_states_weight: weight of the distance to the teacher's hidden states.
        checkpoints: checkpoints of the run, and which one to go on from.
        log_curves: takes the entries of curves and their step over all phases.
        model: the model group: how its layers and its head are trained.
    """

    splits: Tokens
    tokenizer: PreTrainedTokenizerFast
    collate: Collate
    loss: Loss
    distillation: DistillationConfig | None
    hidden_states_weight: float
    checkpoints: Checkpoints
    log_curves: LogCurves
    model: ModelConfig


def train(start: Pretrained, phase: Phase, inputs: TrainingInputs, first_step: int) -> Stage:
    """Train one phase with INCTrainer, or take over what an earlier start of the run trained.

    A phase that learns nothing starts again with another rate, out of RESTARTS.

    Args:
        start: FP32 classifier; a copy is trained, and converted by a quantizing phase.
        phase: length, learning rate, pruning and quantization.
        inputs: what all phases train with.
        first_step: optimizer steps of earlier phases.

    Raises:
        PipelineError: the loss is not finite (the line names the step), or a checkpoint cannot be
            restored.
    """
    quantizes = phase.quantization is not None
    phase = replace(phase, trainer=with_precision(phase.trainer, quantizes, start.model))
    given_up, started = inputs.checkpoints.given_up(phase.name), time.perf_counter()
    while len(given_up) < len(RESTARTS) - 1:
        labels = integers(inputs.splits[TRAIN], LABELS)
        grace_steps = STEPS_OF_RESTART if given_up else 0
        if not is_pretrained(start.model):
            grace_steps = STEPS_FROM_SCRATCH
        watch = LearningWatch(inputs.loss, labels, start.model.config.num_labels, grace_steps)
        copy = replace(start, model=deepcopy(start.model))
        watched = replace(inputs, loss=watch)
        attempt = _Attempt(time.perf_counter() - started, (watch,))
        try:
            return _train(copy, _at_rate(phase, given_up), watched, first_step, attempt)
        except NothingLearnedError as error:
            given_up = (*given_up, error.steps)
            inputs.checkpoints.give_up(phase.name, given_up)
            rate = _at_rate(phase, given_up).trainer.learning_rate
            line = "phase %s has learned nothing in %d steps (%s); it starts again at %g"
            log.warning(line, phase.name, error.steps, error, rate)
    attempt = _Attempt(time.perf_counter() - started, ())
    return _train(start, _at_rate(phase, given_up), inputs, first_step, attempt)


def _at_rate(phase: Phase, given_up: Sequence[int]) -> Phase:
    """Change the learning rate of a phase after the attempts that were given up."""
    return phase.scaled(RESTARTS[len(given_up)])


@dataclass(frozen=True)
class _Attempt:
    """One attempt at a phase: the seconds of those given up before it, and who watches it."""

    earlier_seconds: float
    watches: Sequence[TrainerCallback]


def _train(
    start: Pretrained, phase: Phase, inputs: TrainingInputs, first_step: int, attempt: _Attempt
) -> Stage:
    earlier_steps = sum(inputs.checkpoints.given_up(phase.name))
    curves = Curves(inputs.log_curves, first_step + earlier_steps)
    end = inputs.checkpoints.end(phase.name)
    if end is not None and phase.quantization is None:
        return _stage_of_earlier_start(start.model, phase, end, inputs, curves)
    log.info(_line(phase))
    float_state = FloatState(set(start.model.state_dict()))
    splits = [inputs.splits[TRAIN], inputs.splits[VALIDATION]]
    used_rows = UsedRows(start.model, splits, inputs.tokenizer.pad_token_id)
    callbacks = [*attempt.watches, curves, used_rows, float_state, EvaluationLines()]
    trainer = _phase_trainer(start, phase, inputs, callbacks, follows_a_phase=first_step > 0)
    checkpoint = inputs.checkpoints.last(phase.name)
    if checkpoint is not None:
        log.info("phase %s: going on from %s", phase.name, checkpoint.name)
    resumed_from = None if checkpoint is None else str(checkpoint)
    frozen_or_not = frozen(start.model, phase.config.freeze_embeddings)
    with captured_statistics() as statistics, frozen_or_not, used_rows:
        result = trainer.train(resume_from_checkpoint=resumed_from)
    steps, history = result.global_step + earlier_steps, trainer.state.log_history
    seconds = result.metrics["train_runtime"] + attempt.earlier_seconds
    log.info("phase %s: %d steps in %.1f s", phase.name, steps, seconds)
    if phase.quantization is not None and not statistics:
        raise PipelineError(
            f"phase {phase.name} ended without Mixed Precision Statistics: the model was not "
            "converted."
        )
    if phase.trainer.output_dir is not None or checkpoint is not None:
        end = PhaseEnd(float_state.weights, steps, seconds, history)
        inputs.checkpoints.write_end(phase.name, end)
    figures = _figures(phase, seconds, history)
    if trainer.kept_start is not None:
        figures[kept_start_of(phase.name)] = float(trainer.kept_start)
    if trainer.kept_start:
        line = "phase %s made nothing better on validation: post-training quantization would do"
        log.warning(line, phase.name)
    return Stage(
        name=phase.name,
        model=trainer.model,
        float_state=float_state.weights,
        op_statistics=tuple(statistics),
        int8_modules=int8_modules(trainer.model),
        steps=steps,
        figures=figures,
        evaluate=partial(_evaluate, trainer),
        save=lambda folder: trainer.save_model(str(folder)),
    )


def _phase_trainer(
    start: Pretrained,
    phase: Phase,
    inputs: TrainingInputs,
    callbacks: list[TrainerCallback],
    *,
    follows_a_phase: bool,
) -> PhaseTrainer:
    config = phase.trainer
    if inputs.model.classification_token_only:
        callbacks.append(FirstTokenOnly())
    if config.load_best_model_at_end:
        callbacks.append(LastEvaluation())
    if config.early_stopping_patience is not None:
        patience, threshold = config.early_stopping_patience, config.early_stopping_threshold
        callbacks.append(EarlyStoppingCallback(patience, threshold))
    fake_quantization = None
    if phase.quantization is not None:
        fake_quantization = FakeQuantization(phase.recipe, phase.config)
        callbacks.append(fake_quantization)
    trainer = PhaseTrainer(
        computation=LossComputation(inputs.loss, inputs.hidden_states_weight, config.bf16 or False),
        fake_quantization=fake_quantization,
        learning_rate_factors=_learning_rate_factors(start, inputs.model),
        follows_a_phase=follows_a_phase,
        model=start.model,
        args=training_arguments(config, inputs.checkpoints.folder / phase.name),
        quantization_config=phase.quantization,
        distillation_config=inputs.distillation,
        pruning_config=phase.pruning,
        task="text-classification",
        train_dataset=inputs.splits[TRAIN].remove_columns(NUM_TOKENS),
        eval_dataset=_by_length(inputs.splits[VALIDATION].remove_columns(NUM_TOKENS)),
        processing_class=inputs.tokenizer,
        data_collator=inputs.collate,
        compute_metrics=_compute_metrics,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback if trainer.args.disable_tqdm else ProgressCallback)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(ProgressBar())
    return trainer


def _learning_rate_factors(start: Pretrained, config: ModelConfig) -> dict[str, float]:
    new = dict.fromkeys(sorted(start.new_parameters), config.head_learning_rate_factor)
    return learning_rate_factors(start.model, config.embeddings_learning_rate_factor) | new


def _stage_of_earlier_start(
    model: PreTrainedModel, phase: Phase, end: PhaseEnd, inputs: TrainingInputs, curves: Curves
) -> Stage:
    log.info("phase %s: its %d steps were done in an earlier start", phase.name, end.steps)
    for entry in end.history:
        curves.log(entry, entry["step"])
    model.load_state_dict(end.weights)
    evaluator = Evaluator(
        inputs.splits[VALIDATION], inputs.collate, phase.trainer.per_device_eval_batch_size
    )
    return Stage(
        name=phase.name,
        model=model,
        float_state=end.weights,
        op_statistics=(),
        int8_modules=frozenset(),
        steps=end.steps,
        figures=_figures(phase, end.seconds, end.history),
        evaluate=partial(evaluator.figures, model),
        save=model.save_pretrained,
    )


def _line(phase: Phase) -> str:
    kind, config = "QAT" if phase.quantization else "FP32", phase.trainer
    if config.bf16:
        kind += " in bfloat16"
    length = f"epochs: {config.num_train_epochs:.3g}"
    if config.max_steps > 0:
        length = f"steps: {config.max_steps}"
    return f"phase {phase.name}: {kind}, {length}, learning rate: {config.learning_rate:.2g}"


def _figures(
    phase: Phase, seconds: float, history: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Name what a phase took and how it was trained."""
    figures = {
        time_of(phase.name): seconds,
        epochs_of(phase.name): history[-1]["epoch"],
        bf16_of(phase.name): float(phase.trainer.bf16 or False),
    }
    if phase.trainer.learning_rate is not None:
        figures[learning_rate_of(phase.name)] = phase.trainer.learning_rate
    return figures


def _evaluate(trainer: PhaseTrainer) -> dict[str, float]:
    """Run INCTrainer.evaluate() on the validation split, in INT8 if the phase quantized."""
    figures = trainer.evaluate(metric_key_prefix=AFTER_TRAINING)
    return {name: figures[f"{AFTER_TRAINING}_{name}"] for name in SCORED}


def _by_length(rows: datasets.Dataset) -> datasets.Dataset:
    """Order rows so that batches have little padding.

    Dataset.sort (datasets 5.0) would write its indices beside the cache.
    """
    return rows.select(np.argsort(integers(rows, LENGTH), kind="stable"), keep_in_memory=True)


def _compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    return label_metrics(prediction.predictions.argmax(axis=-1), prediction.label_ids)
