"""Follow a training phase: log its curves, print its evaluations, keep its weights."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from tqdm import tqdm
from transformers import ProgressCallback, TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from pipeline.names import (
    TRAIN_LEARNING_RATE,
    TRAIN_LOSS,
    VALIDATION_ACCURACY,
    VALIDATION_F1_MACRO,
    VALIDATION_LOSS,
)

LogCurves = Callable[[Mapping[str, float], int], None]
"""Values by the curve's name, and the optimizer step over all phases."""

CURVE_BY_ENTRY: Mapping[str, str] = {
    "loss": TRAIN_LOSS,
    "learning_rate": TRAIN_LEARNING_RATE,
    "eval_accuracy": VALIDATION_ACCURACY,
    "eval_f1_macro": VALIDATION_F1_MACRO,
    "eval_loss": VALIDATION_LOSS,
}


class Curves(TrainerCallback):
    """Pass the Trainer's log entries on as curves, with steps counted over all phases.

    Args:
        log_curves: takes the entries and their step.
        first_step: optimizer steps of earlier phases.
    """

    def __init__(self, log_curves: LogCurves, first_step: int) -> None:
        self._log_curves = log_curves
        self._first_step = first_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log the entries from before the checkpoint that a run goes on from."""
        for entry in state.log_history:
            self.log(entry, entry["step"])

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Log the Trainer's newest entries."""
        self.log(logs or {}, state.global_step)

    def log(self, logs: Mapping[str, float], step: int) -> None:
        """Log the entries that belong to a curve.

        Args:
            logs: the Trainer's entries.
            step: optimizer step of this phase.
        """
        entries = {
            CURVE_BY_ENTRY[name]: float(value)
            for name, value in logs.items()
            if name in CURVE_BY_ENTRY
        }
        if entries:
            self._log_curves(entries, self._first_step + step)


class EvaluationLines(TrainerCallback):
    """Print a line for each evaluation, where the Trainer would print every log entry as a dict."""

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Print the line, above the progress bar."""
        if logs and "eval_accuracy" in logs:
            accuracy, loss = logs["eval_accuracy"], logs["eval_loss"]
            line = f"  epoch {state.epoch:.2g}: validation accuracy {accuracy:.4f}, loss {loss:.4f}"
            tqdm.write(line, file=sys.stderr)


class ProgressBar(ProgressCallback):
    """Show the Trainer's progress bar without the dicts that it prints."""

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Print nothing; EvaluationLines does."""


class LastEvaluation(TrainerCallback):
    """Evaluate after the last step of a phase as well, where evaluations go by steps.

    The Trainer (transformers 4.57) saves a checkpoint there, which cannot be the best one unless it
    is evaluated; a phase shorter than eval_steps would have none to choose from.
    """

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for the evaluation; those that go by epochs have it."""
        if args.eval_strategy == IntervalStrategy.STEPS and state.global_step >= state.max_steps:
            control.should_evaluate = True


class FloatState(TrainerCallback):
    """Copy the float weights at the end of training, before Neural Compressor converts them.

    Args:
        keys: keys of the plain model's weights.
    """

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_end(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Copy the weights."""
        self.weights = {
            key: value.detach().clone()
            for key, value in model.state_dict().items()
            if key in self._keys
        }
