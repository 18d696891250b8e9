"""One phase of a recipe to a trained model in memory, with its Mixed Precision Statistics as data."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from neural_compressor import DistillationConfig
from optimum.intel import INCTrainer
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from pipeline.compression.fake_quantization import FakeQuantization
from pipeline.compression.inc_configs import Phase
from pipeline.compression.statistics import captured_statistics, int8_modules
from pipeline.config.schema import TrainerConfig
from pipeline.data.corpus import Collate
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import label_metrics, split_figures
from pipeline.models.first_token import FirstTokenOnly
from pipeline.training.callbacks import Bar, Curves, LogMetrics, Narrator
from pipeline.training.checkpoints import Checkpoints, PhaseEnd
from pipeline.training.loss import Loss
from pipeline.training.stage import Stage
from pipeline.training.trainer import AFTER_TRAINING, EarlyStopping, PhaseTrainer

log = logging.getLogger(__name__)
OWN_ARGUMENTS = (
    "early_stopping_patience",
    "early_stopping_threshold",
    "output_dir",
    "resume_from_checkpoint",
)


@dataclass(frozen=True)
class Material:
    """What all phases of a run train with.

    Args:
        splits: tokenized train and validation; train may have teacher_logits.
        tokenizer: saved beside the model.
        collate: pads a list of rows to tensors.
        loss: of logits and labels.
        distillation: of teacher_logits; None without a teacher.
        checkpoints: where they lie, and which one to go on from.
        log_metrics: called with a curve's entries and the step over all phases.
        classification_token_only: see ModelConfig.
    """

    splits: Mapping[str, datasets.Dataset]
    tokenizer: PreTrainedTokenizerFast
    collate: Collate
    loss: Loss
    distillation: DistillationConfig | None
    checkpoints: Checkpoints
    log_metrics: LogMetrics
    classification_token_only: bool


class _FloatState(TrainerCallback):
    """Copy the float weights at the end of training, just before Neural Compressor converts them to INT8."""

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys
        self.state: dict[str, torch.Tensor] = {}

    def on_train_end(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        self.state = {
            key: value.detach().clone()
            for key, value in model.state_dict().items()
            if key in self._keys
        }


def train(model: PreTrainedModel, phase: Phase, material: Material, first_step: int) -> Stage:
    """Train one phase with INCTrainer, or take up what an earlier start of the run trained.

    Args:
        model: FP32 classifier; a quantizing phase converts it in place.
        phase: length, learning rate, pruning and quantization.
        material: what all phases train with.
        first_step: steps done in earlier phases.

    Raises:
        PipelineError: the loss is not finite (the line names the step), or a checkpoint cannot be restored.
    """
    curves = Curves(material.log_metrics, first_step)
    ended = material.checkpoints.end(phase.name)
    if ended is not None and phase.quantization is None:
        return _taken_up(model, phase, ended, material, curves)
    log.info(
        "phase %s: %s, learning rate %g",
        phase.name,
        "QAT" if phase.quantization else "FP32",
        phase.trainer.learning_rate,
    )
    capture = _FloatState(set(model.state_dict()))
    callbacks: list[TrainerCallback] = [curves, capture, Narrator()]
    if material.classification_token_only:
        callbacks.append(FirstTokenOnly())
    if phase.trainer.early_stopping_patience is not None:
        callbacks.append(
            EarlyStopping(
                phase.trainer.early_stopping_patience, phase.trainer.early_stopping_threshold
            )
        )
    fake_quantization = FakeQuantization(phase) if phase.quantization is not None else None
    if fake_quantization is not None:
        callbacks.append(fake_quantization)
    trainer = PhaseTrainer(
        loss=material.loss,
        fake_quantization=fake_quantization,
        model=model,
        args=training_arguments(phase.trainer, material.checkpoints.folder / phase.name),
        quantization_config=phase.quantization,
        distillation_config=material.distillation,
        pruning_config=phase.pruning,
        task="text-classification",
        train_dataset=material.splits["train"].remove_columns("num_tokens"),
        eval_dataset=_by_length(material.splits["validation"].remove_columns("num_tokens")),
        tokenizer=material.tokenizer,
        data_collator=material.collate,
        compute_metrics=_compute_metrics,
        callbacks=callbacks,
    )
    # neural-compressor 3.7.1 sets torch's seed to 1978 while INCTrainer is made: data order and dropout would not follow seed.
    set_seed(trainer.args.seed)
    trainer.remove_callback(ProgressCallback if not trainer.args.disable_tqdm else PrinterCallback)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(Bar())
    checkpoint = material.checkpoints.last(phase.name)
    if checkpoint is not None:
        log.info("phase %s: going on from %s", phase.name, checkpoint.name)
    with captured_statistics() as statistics, _frozen(model, phase.config.freeze_embeddings):
        result = trainer.train(
            resume_from_checkpoint=None if checkpoint is None else str(checkpoint)
        )
    seconds = result.metrics["train_runtime"]
    log.info("phase %s: %d steps in %.1f s", phase.name, result.global_step, seconds)
    if phase.quantization is not None and not statistics:
        raise PipelineError(
            f"phase {phase.name} ended without Mixed Precision Statistics: the model was not converted."
        )
    if phase.trainer.output_dir is not None or checkpoint is not None:
        end = PhaseEnd(capture.state, result.global_step, seconds, trainer.state.log_history)
        material.checkpoints.write_end(phase.name, end)
    return Stage(
        name=phase.name,
        model=trainer.model,
        float_state=capture.state,
        op_statistics=tuple(statistics),
        int8_modules=int8_modules(trainer.model),
        steps=result.global_step,
        seconds=seconds,
        evaluate=partial(_evaluate, trainer),
        save=partial(_save, trainer),
    )


def _taken_up(
    model: PreTrainedModel, phase: Phase, ended: PhaseEnd, material: Material, curves: Curves
) -> Stage:
    log.info("phase %s: its %d steps were done in an earlier start", phase.name, ended.steps)
    for entry in ended.history:
        curves.log(entry, entry["step"])
    model.load_state_dict(ended.state)
    rows, batch_size = material.splits["validation"], phase.trainer.per_device_eval_batch_size
    return Stage(
        name=phase.name,
        model=model,
        float_state=ended.state,
        op_statistics=(),
        int8_modules=frozenset(),
        steps=ended.steps,
        seconds=ended.seconds,
        evaluate=partial(split_figures, model, rows, material.collate, batch_size),
        save=model.save_pretrained,
    )


def _evaluate(trainer: INCTrainer) -> dict[str, float]:
    """Run INCTrainer.evaluate() on the validation split, in INT8 if the phase quantized."""
    found = trainer.evaluate(metric_key_prefix=AFTER_TRAINING)
    return {name: found[f"{AFTER_TRAINING}_{name}"] for name in ("accuracy", "f1_macro", "loss")}


def _save(trainer: INCTrainer, folder: Path) -> None:
    trainer.save_model(str(folder))
    # TrainingArguments as a pickle: nothing reads it back, and it names the machine that trained.
    (folder / "training_args.bin").unlink()


@contextlib.contextmanager
def _frozen(model: PreTrainedModel, freeze_embeddings: bool) -> Iterator[None]:
    """Keep the embedding tables from being trained, if they are not to be."""
    frozen = list(model.base_model.embeddings.parameters()) if freeze_embeddings else []
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _by_length(rows: datasets.Dataset) -> datasets.Dataset:
    """Order rows so that batches have little padding; Dataset.sort (datasets 5.0) would write its indices beside the cache."""
    return rows.select(np.argsort(rows["length"], kind="stable"), keep_in_memory=True)


def training_arguments(config: TrainerConfig, output_dir: Path) -> TrainingArguments:
    """Build TrainingArguments from the fields of the trainer group, which bear the same names.

    A progress bar is shown on a terminal only, unless disable_tqdm says otherwise.
    """
    own = {name: value for name, value in asdict(config).items() if name not in OWN_ARGUMENTS}
    if own["disable_tqdm"] is None:
        own["disable_tqdm"] = not sys.stderr.isatty()
    return TrainingArguments(
        output_dir=str(output_dir),
        do_train=True,  # without it INCTrainer (optimum-intel 1.27) does not quantize, and does not say so
        use_cpu=True,  # Neural Compressor converts for the CPU
        report_to=[],  # curves go through Curves, batched
        length_column_name="length",
        **own,
    )


def _compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    return label_metrics(prediction.predictions.argmax(axis=-1), prediction.label_ids)
