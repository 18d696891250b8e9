"""Save and export the stages of a recipe, each artifact beside what it has to agree with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PretrainedConfig

from pipeline.config.schema import Config
from pipeline.models.artifact import Artifact, save_artifact
from pipeline.models.export import ONNX_OPS, ExportSettings, export
from pipeline.names import FP32, FP32_FORMATS, INT8, INT8_FORMATS, TRAIN
from pipeline.training.recipe import RecipeInputs, last_float_stage
from pipeline.training.stage import Stage


@dataclass(frozen=True)
class Saved:
    """A saved model and the one in memory.

    Args:
        artifact: directory that was written.
        in_memory: model that it was written from.
    """

    artifact: Artifact
    in_memory: torch.nn.Module


@dataclass(frozen=True)
class Exported:
    """An exported model and the one that was trained.

    Args:
        artifact: directory that was written.
        trained_variant: variant in PyTorch that the export has to agree with.
    """

    artifact: Artifact
    trained_variant: str


def save_stages(
    stages: Sequence[Stage], model_config: PretrainedConfig, inputs: RecipeInputs, folder: Path
) -> list[Saved]:
    """Save the FP32 model, and the INT8 model if there is one.

    Args:
        stages: stages of the recipe.
        model_config: config of the plain model, as it was before training.
        inputs: inputs of the recipe, for the tokenizer.
        folder: existing directory; each variant gets a folder of its name.
    """
    fp32 = last_float_stage(stages).float_model(model_config)
    artifact = save_artifact(FP32, fp32.save_pretrained, inputs.tokenizer, folder / FP32)
    saved = [Saved(artifact, fp32)]
    last = stages[-1]
    if last.quantized:
        artifact = save_artifact(INT8, last.save, inputs.tokenizer, folder / INT8)
        saved.append(Saved(artifact, last.model))
    return saved


def export_stages(
    config: Config,
    stages: Sequence[Stage],
    model_config: PretrainedConfig,
    inputs: RecipeInputs,
    folder: Path,
) -> list[Exported]:
    """Export FP32 formats from the FP32 model, and INT8 formats from the last stage's weights.

    Args:
        config: resolved config of the run, for formats and calibration.
        stages: stages of the recipe; without quantization, INT8 formats are left out.
        model_config: config of the plain model, as it was before training.
        inputs: inputs of the recipe, for the tokenizer and calibration texts.
        folder: existing directory; each format gets a folder of its name.

    Raises:
        PipelineError: the architecture cannot be exported.
    """
    settings = _export_settings(config, inputs)
    sources: list[tuple[str, tuple[str, ...], Stage]] = [
        (FP32, FP32_FORMATS, last_float_stage(stages))
    ]
    if stages[-1].quantized:
        sources.append((INT8, INT8_FORMATS, stages[-1]))
    exported: list[Exported] = []
    for variant, possible_formats, stage in sources:
        formats = [name for name in config.export.formats if name in possible_formats]
        if formats:
            artifacts = export(stage.float_model(model_config), settings, formats, folder)
            exported += [Exported(artifact, variant) for artifact in artifacts]
    return exported


def _export_settings(config: Config, inputs: RecipeInputs) -> ExportSettings:
    shuffled = inputs.tokens[TRAIN].shuffle(seed=config.trainer.seed, keep_in_memory=True)
    fp32_op_types = config.qat.fp32_op_types
    return ExportSettings(
        tokenizer=inputs.tokenizer,
        max_length=config.dataset.max_length,
        calibration=shuffled[: config.export.calibration_samples]["input_ids"],
        int8_op_types=[op_type for op_type in ONNX_OPS if op_type not in fp32_op_types],
        pairs=config.dataset.text_pair_column is not None,
    )
