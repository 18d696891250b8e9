"""What a training phase tells, to MLflow and to the terminal."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm
from transformers import ProgressCallback, TrainerCallback

LogMetrics = Callable[[Mapping[str, float], int], None]


class Curves(TrainerCallback):
    """Hand the Trainer's log entries on under the names of the curves, with steps counted over all phases.

    Args:
        log_metrics: called with a curve's entries and the step over all phases.
        first_step: steps done in earlier phases.
    """

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

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log what was logged before the checkpoint that a run goes on from."""
        for entry in state.log_history:
            self.log(entry, entry["step"])

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any
    ) -> None:  # noqa: D102
        self.log(logs or {}, state.global_step)

    def log(self, logs: Mapping[str, float], step: int) -> None:
        """Pass on what belongs to a curve; step is that of the phase."""
        entries = {
            self.NAMES[key]: float(value) for key, value in logs.items() if key in self.NAMES
        }
        if entries:
            self._log_metrics(entries, self._first_step + step)


class Narrator(TrainerCallback):
    """Say what each evaluation found in one line, where the Trainer would print every log entry as a dict."""

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any
    ) -> None:  # noqa: D102
        if logs and "eval_accuracy" in logs:
            line = f"  epoch {state.epoch:.2g}: validation accuracy {logs['eval_accuracy']:.4f}, loss {logs['eval_loss']:.4f}"
            tqdm.write(line, file=sys.stderr)


class Bar(ProgressCallback):
    """The Trainer's progress bar without the dicts."""

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any
    ) -> None:
        """Left to Narrator."""
