"""Hold what a step of a recipe ends with: a training phase, or post-training quantization."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel

from pipeline.compression.statistics import OpStatistics
from pipeline.names import FP32, INT8


@dataclass(frozen=True)
class Stage:
    """A model in memory, and how it was made.

    Args:
        name: name of the step, as in the names of its figures.
        model: FP32 classifier, or converted to INT8.
        float_state: FP32 weights, those before conversion if it was converted; keys as in the
            plain model.
        op_statistics: Mixed Precision Statistics; empty if nothing was quantized.
        int8_modules: names of the modules that were converted, as in the plain model.
        steps: optimizer steps.
        figures: its wall time, length and learning rate, by their names in MLflow.
        evaluate: runs the model on the validation split; accuracy, f1_macro and loss.
        save: writes weights and config into a directory.
    """

    name: str
    model: PreTrainedModel
    float_state: Mapping[str, torch.Tensor]
    op_statistics: tuple[OpStatistics, ...]
    int8_modules: frozenset[str]
    steps: int
    figures: Mapping[str, float]
    evaluate: Callable[[], Mapping[str, float]]
    save: Callable[[Path], None]

    @property
    def quantized(self) -> bool:
        """Whether the model was converted to INT8."""
        return bool(self.op_statistics)

    @property
    def variant(self) -> str:
        """The prefix of the model's figures: int8 or fp32."""
        return INT8 if self.quantized else FP32

    def float_model(self, config: PretrainedConfig) -> PreTrainedModel:
        """Build the FP32 model with the float weights.

        Args:
            config: the plain model's config, as it was before training.
        """
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
        model.load_state_dict(self.float_state)
        return model
