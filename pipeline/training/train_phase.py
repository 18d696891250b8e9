"""Train one phase of a recipe to a model in memory, with its Mixed Precision Statistics as data."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

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
    TrainingArguments,
)

from pipeline.compression.fake_quantization import FakeQuantization
from pipeline.compression.modules import int8_modules
from pipeline.compression.statistics import captured_statistics
from pipeline.config.schema import TrainerConfig
from pipeline.cpus import available_cpus
from pipeline.data.tokens import LENGTH, NUM_TOKENS, Collate, Tokens, integers
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import Evaluator, label_metrics
from pipeline.models.first_token import FirstTokenOnly
from pipeline.names import SCORED, TRAIN, VALIDATION
from pipeline.training.callbacks import (
    Curves,
    EvaluationLines,
    FloatState,
    LogCurves,
    ProgressBar,
)
from pipeline.training.checkpoints import Checkpoints, PhaseEnd
from pipeline.training.loss import Loss
from pipeline.training.phases import Phase
from pipeline.training.stage import Stage
from pipeline.training.trainer import AFTER_TRAINING, PhaseTrainer

log = logging.getLogger(__name__)
# Keys of the trainer group that TrainingArguments does not have, or that are set here.
OTHER_KEYS = (
    "early_stopping_patience",
    "early_stopping_threshold",
    "output_dir",
    "resume_from_checkpoint",
)


@dataclass(frozen=True)
class TrainingInputs:
    """What all phases of a run train with.

    Args:
        splits: tokenized train and validation; train may have a teacher's logits.
        tokenizer: tokenizer that is saved beside the model.
        collate: pads a list of rows to tensors.
        loss: function that training minimizes.
        distillation: Neural Compressor's config of the teacher's share; None without a teacher.
        checkpoints: checkpoints of the run, and which one to go on from.
        log_curves: takes the entries of curves and their step over all phases.
        classification_token_only: see ModelConfig.
    """

    splits: Tokens
    tokenizer: PreTrainedTokenizerFast
    collate: Collate
    loss: Loss
    distillation: DistillationConfig | None
    checkpoints: Checkpoints
    log_curves: LogCurves
    classification_token_only: bool


def train(model: PreTrainedModel, phase: Phase, inputs: TrainingInputs, first_step: int) -> Stage:
    """Train one phase with INCTrainer, or take over what an earlier start of the run trained.

    Args:
        model: FP32 classifier; a quantizing phase converts it in place.
        phase: length, learning rate, pruning and quantization.
        inputs: what all phases train with.
        first_step: optimizer steps of earlier phases.

    Raises:
        PipelineError: the loss is not finite (the line names the step), or a checkpoint cannot be
            restored.
    """
    curves = Curves(inputs.log_curves, first_step)
    end = inputs.checkpoints.end(phase.name)
    if end is not None and phase.quantization is None:
        return _stage_of_earlier_start(model, phase, end, inputs, curves)
    kind = "QAT" if phase.quantization else "FP32"
    log.info("phase %s: %s, learning rate %g", phase.name, kind, phase.trainer.learning_rate)
    float_state = FloatState(set(model.state_dict()))
    trainer = _phase_trainer(model, phase, inputs, [curves, float_state, EvaluationLines()])
    checkpoint = inputs.checkpoints.last(phase.name)
    if checkpoint is not None:
        log.info("phase %s: going on from %s", phase.name, checkpoint.name)
    resumed_from = None if checkpoint is None else str(checkpoint)
    with captured_statistics() as statistics, _frozen(model, phase.config.freeze_embeddings):
        result = trainer.train(resume_from_checkpoint=resumed_from)
    seconds = result.metrics["train_runtime"]
    log.info("phase %s: %d steps in %.1f s", phase.name, result.global_step, seconds)
    if phase.quantization is not None and not statistics:
        raise PipelineError(
            f"phase {phase.name} ended without Mixed Precision Statistics: the model was not "
            "converted."
        )
    if phase.trainer.output_dir is not None or checkpoint is not None:
        history = trainer.state.log_history
        end = PhaseEnd(float_state.weights, result.global_step, seconds, history)
        inputs.checkpoints.write_end(phase.name, end)
    return Stage(
        name=phase.name,
        model=trainer.model,
        float_state=float_state.weights,
        op_statistics=tuple(statistics),
        int8_modules=int8_modules(trainer.model),
        steps=result.global_step,
        seconds=seconds,
        evaluate=partial(_evaluate, trainer),
        save=lambda folder: trainer.save_model(str(folder)),
    )


def training_arguments(config: TrainerConfig, output_dir: Path) -> TrainingArguments:
    """Build TrainingArguments from the trainer group, whose keys have the same names.

    A progress bar is shown on a terminal only, unless disable_tqdm says otherwise, and no more
    processes load data than there are CPUs.

    Args:
        config: the trainer group.
        output_dir: folder of the phase's checkpoints.
    """
    options = {name: value for name, value in asdict(config).items() if name not in OTHER_KEYS}
    if options["disable_tqdm"] is None:
        options["disable_tqdm"] = not sys.stderr.isatty()
    cpus = available_cpus()
    if config.dataloader_num_workers > cpus:
        log.info("dataloader_num_workers: %d, one for each CPU", cpus)
        options["dataloader_num_workers"] = cpus
    return TrainingArguments(
        output_dir=str(output_dir),
        do_train=True,  # INCTrainer (optimum-intel 1.27) would not quantize, and not say so
        use_cpu=True,  # Neural Compressor converts for the CPU
        report_to=[],  # curves go through Curves, batched
        length_column_name=LENGTH,
        restore_callback_states_from_checkpoint=True,  # the count of EarlyStoppingCallback
        **options,
    )


def _phase_trainer(
    model: PreTrainedModel,
    phase: Phase,
    inputs: TrainingInputs,
    callbacks: list[TrainerCallback],
) -> PhaseTrainer:
    config = phase.trainer
    if inputs.classification_token_only:
        callbacks.append(FirstTokenOnly())
    if config.early_stopping_patience is not None:
        patience, threshold = config.early_stopping_patience, config.early_stopping_threshold
        callbacks.append(EarlyStoppingCallback(patience, threshold))
    fake_quantization = None
    if phase.quantization is not None:
        fake_quantization = FakeQuantization(phase.recipe, phase.config)
        callbacks.append(fake_quantization)
    trainer = PhaseTrainer(
        loss=inputs.loss,
        fake_quantization=fake_quantization,
        model=model,
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
        seconds=end.seconds,
        evaluate=partial(evaluator.figures, model),
        save=model.save_pretrained,
    )


def _evaluate(trainer: PhaseTrainer) -> dict[str, float]:
    """Run INCTrainer.evaluate() on the validation split, in INT8 if the phase quantized."""
    figures = trainer.evaluate(metric_key_prefix=AFTER_TRAINING)
    return {name: figures[f"{AFTER_TRAINING}_{name}"] for name in SCORED}


@contextlib.contextmanager
def _frozen(model: PreTrainedModel, freeze_embeddings: bool) -> Iterator[None]:
    """Keep the embedding tables from being trained while the block runs, if they are to stay."""
    tables = list(model.base_model.embeddings.parameters()) if freeze_embeddings else []
    for table in tables:
        table.requires_grad_(False)
    try:
        yield
    finally:
        for table in tables:
            table.requires_grad_(True)


def _by_length(rows: datasets.Dataset) -> datasets.Dataset:
    """Order rows so that batches have little padding.

    Dataset.sort (datasets 5.0) would write its indices beside the cache.
    """
    return rows.select(np.argsort(integers(rows, LENGTH), kind="stable"), keep_in_memory=True)


def _compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    return label_metrics(prediction.predictions.argmax(axis=-1), prediction.label_ids)
