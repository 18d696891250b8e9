"""Extend INCTrainer by the loss, the checkpoints and the checks that a pipeline needs."""

import logging
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from neural_compressor.compression.callbacks import QuantizationAwareTrainingCallbacks
from safetensors import SafetensorError
from torch.utils.data import SequentialSampler

from pipeline.compression.fake_quantization import FakeQuantization, mean_ranges
from pipeline.compression.upstream import CompressionTrainer
from pipeline.console import interrupt
from pipeline.console.disk import disk_errors
from pipeline.data.tokens import integers
from pipeline.errors import PipelineError, reason_line
from pipeline.evaluation.metrics import TEACHER_HIDDEN_STATE, TEACHER_LOGITS
from pipeline.names import ACCURACY, LOSS, SCORED
from pipeline.training.checkpoint_files import (
    UnloggedLoss,
    damage,
    read_unlogged_loss,
    restore_weights,
    save_unlogged_loss,
    save_weights,
)
from pipeline.training.checkpoints import CHECKPOINT_PREFIX
from pipeline.training.loss import Loss, hidden_state_distance
from pipeline.training.optimizer import scale_learning_rates
from pipeline.training.phase_start import START, read_start, save_start
from pipeline.training.sampler import LikeLengthSampler

log = logging.getLogger(__name__)
# Prefix of evaluations after training: not "eval", so that they are no points of the curve.
AFTER_TRAINING = "after_training"
CALIBRATION_TEXTS = 300  # that the ranges before the first step come from, as those of the exports


@dataclass(frozen=True)
class LossComputation:
    """How the loss of a batch is computed in training.

    Args:
        loss: function of logits and labels that training minimizes.
        hidden_states_weight: weight of the distance to a teacher's hidden states.
        bfloat16: whether the forward pass is in bfloat16.
    """

    loss: Loss
    hidden_states_weight: float
    bfloat16: bool


class PhaseTrainer(CompressionTrainer):
    """Train one phase.

    INCTrainer writes checkpoints as pickles, and resumes before fake-quantization is there, so that
    its ranges would be lost.

    Args:
        computation: how the loss of a batch is computed.
        fake_quantization: adapts fake-quantization as soon as Neural Compressor has inserted it;
            None for an FP32 phase.
        learning_rate_factors: factor of the learning rate by name of parameter; 1 for others.
        follows_a_phase: whether an earlier phase trained the model: a quantizing phase then ends
            where it started, if none of its checkpoints is better.
        options: INCTrainer's arguments.

    Attributes:
        kept_start: whether the phase has ended where it started; None where it cannot.
    """

    def __init__(
        self,
        *,
        computation: LossComputation,
        fake_quantization: FakeQuantization | None,
        learning_rate_factors: Mapping[str, float],
        follows_a_phase: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._computation = computation
        self._learning_rate_factors = learning_rate_factors
        self._fake_quantization = fake_quantization
        may_keep_start = follows_a_phase and fake_quantization is not None
        self.kept_start = False if may_keep_start and self.args.load_best_model_at_end else None
        self._to_restore: Path | None = None
        self._unlogged: UnloggedLoss | None = None
        self._loss_since_log = torch.zeros(())
        if fake_quantization is None:
            return
        for callbacks in self._compression_manager.callbacks.callbacks_list:
            if isinstance(callbacks, QuantizationAwareTrainingCallbacks):
                callbacks.register_hook("on_train_begin", self._after_fake_quantization)

    def _set_signature_columns_if_needed(self) -> None:
        """Keep the teacher's hidden states, as INCTrainer keeps its logits."""
        super()._set_signature_columns_if_needed()
        if TEACHER_HIDDEN_STATE not in self._signature_columns:
            self._signature_columns.append(TEACHER_HIDDEN_STATE)

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Do one step; stop at the first loss that is not a number.

        transformers' logging_nan_inf_filter would show the average of earlier losses instead.

        Raises:
            PipelineError: the loss is not finite.
        """
        interrupt.check()
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not math.isfinite(loss.item()):
            raise PipelineError(
                f"the training loss became {loss.item()} at step {self.state.global_step + 1} with "
                f"learning_rate={self.args.learning_rate:g}; a lower trainer.learning_rate helps."
            )
        return loss

    def create_optimizer(self) -> torch.optim.Optimizer:
        """Make the optimizer, with the learning rates of the layers and of what is new."""
        optimizer = super().create_optimizer()
        factors = self._learning_rate_factors
        scale_learning_rates(
            optimizer, {self.model.get_parameter(name): factors[name] for name in factors}
        )
        return optimizer

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Compute the loss group's loss in training, and cross-entropy in evaluation.

        Rows with a teacher's logits add the teacher's share, and those with its hidden state the
        distance to that.
        """
        computation = self._computation
        teacher_logits = inputs.pop(TEACHER_LOGITS, None)
        hidden_state = inputs.pop(TEACHER_HIDDEN_STATE, None)
        taught_states = {} if hidden_state is None else {"output_hidden_states": True}
        with torch.autocast("cpu", torch.bfloat16, enabled=computation.bfloat16 and model.training):
            outputs = model(**inputs, **taught_states)
        loss, logits = outputs.loss, outputs.logits.float()
        if model.training:
            loss = computation.loss(logits, inputs["labels"])
        if model.training and teacher_logits is not None:
            weight, teacher_weight = self.distillation_callback.criterion.loss_weights
            teacher_loss = self.compute_distillation_loss((logits,), (teacher_logits,))
            loss = (weight * loss + teacher_weight * teacher_loss) / (weight + teacher_weight)
        if model.training and hidden_state is not None:
            distance = hidden_state_distance(outputs.hidden_states[-1][:, 0].float(), hidden_state)
            loss = loss + computation.hidden_states_weight * distance
        return (loss, outputs) if return_outputs else loss

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write a checkpoint without a pickle, and a model as INCTrainer does."""
        if _internal_call and output_dir is not None:
            save_weights(self.model.state_dict(), Path(output_dir))
            unlogged = UnloggedLoss(self._loss_since_log.item(), self._globalstep_last_logged)
            save_unlogged_loss(unlogged, Path(output_dir))
        else:
            super().save_model(output_dir, _internal_call)

    def _maybe_log_save_evaluate(self, tr_loss: torch.Tensor, *args: Any, **options: Any) -> None:
        """Count what the loss was before a resume into the first point after it."""
        if self._unlogged is not None:
            tr_loss += self._unlogged.total
            self._globalstep_last_logged = self._unlogged.last_logged_step
            self._unlogged = None
        self._loss_since_log = tr_loss  # set to 0 in place when the curve gets its point
        super()._maybe_log_save_evaluate(tr_loss, *args, **options)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, and leave none that could not be written whole.

        Raises:
            PipelineError: it cannot be written, as on a full disk.
        """
        folder = Path(self.args.output_dir) / f"{CHECKPOINT_PREFIX}{self.state.global_step}"
        try:
            with disk_errors(folder.parent):
                super()._save_checkpoint(model, trial)
        except (PipelineError, OSError, RuntimeError, SafetensorError) as error:
            if damage(folder):
                shutil.rmtree(folder, ignore_errors=True)
            reason = reason_line(error)
            raise PipelineError(f"{folder.name} cannot be written: {reason}") from error

    def _after_fake_quantization(self, dataloader: Any = None) -> None:
        if self._fake_quantization is not None:
            self._fake_quantization.prepare(self.model)
        if self._to_restore is not None:
            restore_weights(self.model, self._to_restore)
        elif self.kept_start is not None:
            self._keep_start()

    def _keep_start(self) -> None:
        """Keep the model as it is rounded before the first step, with its validation figures.

        It is what post-training quantization of the phase before gives, which training does not
        always improve. It is no point of the curve, and early stopping does not count it.
        """
        self.model.eval()
        with torch.no_grad(), mean_ranges(self.model):
            for batch in self._calibration_batches():
                self.compute_loss(self.model, self._prepare_inputs(batch))
        metrics = self.predict(self.eval_dataset, metric_key_prefix=START).metrics
        self.model.train()
        figures = {name: metrics[f"{START}_{name}"] for name in SCORED}
        with disk_errors(Path(self.args.output_dir)):
            save_start(self.model, figures, Path(self.args.output_dir))
        line = "  start, rounded to INT8: validation accuracy %.4f, loss %.4f"
        log.info(line, figures[ACCURACY], figures[LOSS])

    def _calibration_batches(self) -> Iterable[Any]:
        """Batches of training texts from all over the split, those of like length together."""
        lengths = integers(self.train_dataset, self.args.length_column_name)
        places = np.linspace(0, len(lengths) - 1, min(len(lengths), CALIBRATION_TEXTS)).astype(int)
        places = places[np.argsort(lengths[places], kind="stable")]
        return self.get_eval_dataloader(self.train_dataset.select(places, keep_in_memory=True))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._unlogged = read_unlogged_loss(Path(resume_from_checkpoint))
        if self._fake_quantization is None:
            restore_weights(self.model, Path(resume_from_checkpoint))
        else:
            self._to_restore = Path(resume_from_checkpoint)

    def _load_callback_state(self) -> None:
        """Find the best checkpoint in this run's folder, wherever the folder was before.

        The Trainer's state (transformers 4.57) keeps its whole path.

        Raises:
            PipelineError: the best checkpoint is to be restored, and is not whole.
        """
        super()._load_callback_state()
        if self.state.best_model_checkpoint is None:
            return
        best = Path(self.args.output_dir) / Path(self.state.best_model_checkpoint).name
        self.state.best_model_checkpoint = str(best)
        if self.args.load_best_model_at_end and (reason := damage(best)):
            raise PipelineError(
                f"the best checkpoint before the interruption, {best}, cannot be restored: "
                f"{reason}; go on from an earlier one, or begin anew in another "
                "trainer.output_dir."
            )

    def _load_best_model(self) -> None:
        """Restore the best checkpoint, or the start if no checkpoint is better.

        The weights are compared value by value, and its figures not again: a sum of floats may
        differ in its last digit, and a trained run is worth more.
        """
        best, name = Path(self.state.best_model_checkpoint), self.args.metric_for_best_model
        figure, folder = self.state.best_metric, Path(self.args.output_dir)
        start = None if self.kept_start is None else read_start(folder)
        if start is not None:
            sign = 1 if self.args.greater_is_better else -1
            self.kept_start = sign * start[name] >= sign * figure
            if self.kept_start:
                best, figure = folder / START, start[name]
        restore_weights(self.model, best)
        kind = "start of the phase" if self.kept_start else f"best checkpoint, {best.name}"
        log.info("restored the %s: validation %s %.4f", kind, name, figure)

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler | None:
        """Draw batches of like length; train_dataset has lost its lengths on its way here."""
        if not self.args.group_by_length:
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return LikeLengthSampler(
            seed,
            self.args.train_batch_size * self.args.gradient_accumulation_steps,
            lengths=integers(self.train_dataset, self.args.length_column_name).tolist(),
            generator=torch.Generator(),
        )

    def _get_eval_sampler(self, eval_dataset: Any) -> torch.utils.data.Sampler:
        """Keep the rows in their order, which is that of their lengths."""
        return SequentialSampler(eval_dataset)
