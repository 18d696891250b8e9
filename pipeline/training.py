"""One phase of a recipe to a trained model in memory, with its Mixed Precision Statistics as data."""

import contextlib
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from neural_compressor.adaptor import pytorch as inc_adaptor
from optimum.intel import INCTrainer
from tqdm import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    EvalPrediction,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from pipeline import interrupt
from pipeline.compression import Phase
from pipeline.config import TrainerConfig
from pipeline.data import Collate
from pipeline.errors import PipelineError
from pipeline.evaluation import label_metrics
from pipeline.first_token import FirstTokenOnly

LogMetrics = Callable[[Mapping[str, float], int], None]
log = logging.getLogger(__name__)

AFTER_TRAINING = "after_training"  # not "eval", so that it is no point of the validation curve


@dataclass(frozen=True)
class OpStatistics:
    """One row of Neural Compressor's Mixed Precision Statistics: how many ops of a type run in which precision."""

    op_type: str
    total: int
    int8: int
    bf16: int
    fp32: int


@dataclass(frozen=True)
class Trained:
    """What a phase ends with.

    Args:
        trainer: INCTrainer with the trained model, converted to INT8 if the phase quantizes.
        float_state: the trained FP32 weights, those before conversion if the phase quantizes; keys as in the plain model.
        op_statistics: Mixed Precision Statistics; empty if the phase does not quantize.
        steps: optimizer steps done.
        seconds: wall time of train().
    """

    trainer: INCTrainer
    float_state: Mapping[str, torch.Tensor]
    op_statistics: tuple[OpStatistics, ...]
    steps: int
    seconds: float

    @property
    def quantized(self) -> bool:
        """Whether the model was converted to INT8."""
        return bool(self.op_statistics)

    @property
    def variant(self) -> str:
        """The prefix of the model's figures: int8 or fp32."""
        return "int8" if self.quantized else "fp32"

    def float_model(self, config: PretrainedConfig) -> PreTrainedModel:
        """Build the FP32 model with the trained weights; config is the plain model's, as it was before training."""
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
        model.load_state_dict(self.float_state)
        return model

    def evaluate(self) -> dict[str, float]:
        """Run INCTrainer.evaluate() on the validation split, in INT8 if the phase quantized: accuracy, f1_macro and loss."""
        found = self.trainer.evaluate(metric_key_prefix=AFTER_TRAINING)
        return {name: found[f"{AFTER_TRAINING}_{name}"] for name in ("accuracy", "f1_macro", "loss")}

    @property
    def model(self) -> PreTrainedModel:
        """The trained model, in memory."""
        return self.trainer.model


class _Trainer(INCTrainer):
    """INCTrainer that stops at the first loss that is not a number.

    transformers' logging_nan_inf_filter would show the average of earlier losses in its place.
    """

    def training_step(self, model: Any, inputs: Any) -> torch.Tensor:
        interrupt.check()
        loss = super().training_step(model, inputs)
        if not math.isfinite(loss.item()):
            raise PipelineError(
                f"the training loss became {loss.item()} at step {self.state.global_step + 1} with "
                f"learning_rate={self.args.learning_rate:g}; a lower trainer.learning_rate helps."
            )
        return loss


class _Curves(TrainerCallback):
    """Hand the Trainer's log entries on under the names of the curves, with steps counted over all phases."""

    NAMES: Mapping[str, str] = {
        "loss": "train/loss",
        "learning_rate": "train/learning_rate",
        "eval_accuracy": "validation/accuracy",
        "eval_f1_macro": "validation/f1_macro",
        "eval_loss": "validation/loss",
    }

    def __init__(self, log_metrics: LogMetrics, first_step: int) -> None:
        self._log_metrics = log_metrics
        self._first_step = first_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        entries = {self.NAMES[key]: float(value) for key, value in (logs or {}).items() if key in self.NAMES}
        if entries:
            self._log_metrics(entries, self._first_step + state.global_step)


class _Narrator(TrainerCallback):
    """Say what each evaluation found in one line, where the Trainer would print every log entry as a dict."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        if logs and "eval_accuracy" in logs:
            line = f"  epoch {state.epoch:.2g}: validation accuracy {logs['eval_accuracy']:.4f}, loss {logs['eval_loss']:.4f}"
            tqdm.write(line, file=sys.stderr)


class _Bar(ProgressCallback):
    """The Trainer's progress bar without the dicts."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        """Left to _Narrator."""


class _FloatState(TrainerCallback):
    """Copy the float weights at the end of training, just before Neural Compressor converts them to INT8."""

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys
        self.state: dict[str, torch.Tensor] = {}

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items() if key in self._keys}


def train(
    model: PreTrainedModel,
    phase: Phase,
    splits: Mapping[str, datasets.Dataset],
    tokenizer: PreTrainedTokenizerFast,
    collate: Collate,
    work_dir: Path,
    log_metrics: LogMetrics,
    *,
    classification_token_only: bool,
    first_step: int,
) -> Trained:
    """Train one phase with INCTrainer.

    Args:
        model: FP32 classifier; a quantizing phase converts it in place.
        phase: length, learning rate and quantization.
        splits: tokenized train and validation.
        tokenizer: saved beside the model.
        collate: pads a list of rows to tensors.
        work_dir: scratch folder of the Trainer.
        log_metrics: called with a curve's entries and the step over all phases.
        classification_token_only: see ModelConfig.
        first_step: steps done in earlier phases.

    Raises:
        PipelineError: the loss is not finite; the line names the step.
    """
    log.info(
        "phase %s: %s, learning rate %g",
        phase.name,
        "QAT" if phase.quantization else "FP32",
        phase.trainer.learning_rate,
    )
    capture = _FloatState(set(model.state_dict()))
    callbacks: list[TrainerCallback] = [_Curves(log_metrics, first_step), capture, _Narrator()]
    if classification_token_only:
        callbacks.append(FirstTokenOnly())
    trainer = _Trainer(
        model=model,
        args=training_arguments(phase.trainer, work_dir / phase.name),
        quantization_config=phase.quantization,
        task="text-classification",
        train_dataset=splits["train"].remove_columns("num_tokens"),
        eval_dataset=_by_length(splits["validation"].remove_columns("num_tokens")),
        tokenizer=tokenizer,
        data_collator=collate,
        compute_metrics=_compute_metrics,
        callbacks=callbacks,
    )
    if phase.quantization is not None:
        # neural-compressor 3.7.1 heeds excluded_precisions in post-training quantization only; in training, the ops left in
        # FP32 would become BF16 on a CPU that has it.
        trainer._compression_manager.adaptor.use_bf16 = False
    # neural-compressor 3.7.1 sets torch's seed to 1978 while INCTrainer is made: data order and dropout would not follow seed.
    set_seed(trainer.args.seed)
    trainer.remove_callback(ProgressCallback if not trainer.args.disable_tqdm else PrinterCallback)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(_Bar())
    with _captured_statistics() as statistics:
        result = trainer.train()
    seconds = result.metrics["train_runtime"]
    log.info("phase %s: %d steps in %.1f s", phase.name, result.global_step, seconds)
    if phase.quantization is not None and not statistics:
        raise PipelineError(f"phase {phase.name} ended without Mixed Precision Statistics: the model was not converted.")
    return Trained(trainer, capture.state, tuple(statistics), result.global_step, seconds)


def _by_length(rows: datasets.Dataset) -> datasets.Dataset:
    """Order rows so that batches have little padding; Dataset.sort (datasets 5.0) would write its indices beside the cache."""
    return rows.select(np.argsort(rows["length"], kind="stable"), keep_in_memory=True)


def training_arguments(config: TrainerConfig, output_dir: Path) -> TrainingArguments:
    """Build TrainingArguments from the fields of the trainer group, which bear the same names.

    A progress bar is shown on a terminal only, unless disable_tqdm says otherwise.
    """
    own = asdict(config)
    if own["disable_tqdm"] is None:
        own["disable_tqdm"] = not sys.stderr.isatty()
    return TrainingArguments(
        output_dir=str(output_dir),
        do_train=True,  # without it INCTrainer (optimum-intel 1.27) does not quantize, and does not say so
        use_cpu=True,  # Neural Compressor converts for the CPU
        report_to=[],  # curves go through _Curves, batched
        save_strategy="no",
        length_column_name="length",
        **own,
    )


def _compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    return label_metrics(prediction.predictions.argmax(axis=-1), prediction.label_ids)


@contextlib.contextmanager
def _captured_statistics() -> Iterator[list[OpStatistics]]:
    """Collect the rows that Neural Compressor 3.7 only prints.

    PyTorch_FXAdaptor._dump_model_op_stats hands them to `Statistics(rows, header, field_names).print_stat()`; no attribute
    keeps them. The class is replaced for the time of the conversion.
    """
    rows: list[OpStatistics] = []

    class _Collected:
        def __init__(self, data: list[list[Any]], header: str, field_names: list[str]) -> None:
            for line in data:
                by_name = dict(zip(field_names, line, strict=True))
                rows.append(
                    OpStatistics(
                        op_type=str(line[0]),
                        total=int(by_name["Total"]),
                        int8=int(by_name.get("INT8", 0)),
                        bf16=int(by_name.get("BF16", 0)),
                        fp32=int(by_name.get("FP32", 0)),
                    )
                )

        def print_stat(self) -> None:
            """Shown by report.py, once, with the run's other tables."""

    original = inc_adaptor.Statistics
    inc_adaptor.Statistics = _Collected
    try:
        yield rows
    finally:
        inc_adaptor.Statistics = original
