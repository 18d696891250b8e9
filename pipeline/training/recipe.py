"""A recipe from the pretrained model to its last stage: teacher, training phases, post-training quantization."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pipeline.compression.inc_configs import phases
from pipeline.config.schema import Config
from pipeline.data.corpus import Collate, Corpus
from pipeline.training.callbacks import LogMetrics
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.distillation import inc_distillation, teach
from pipeline.training.loss import loss_function
from pipeline.training.post_training import quantize
from pipeline.training.stage import Stage
from pipeline.training.train_phase import Material, train

LogFigures = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class Inputs:
    """What a recipe is applied to, beside the model.

    Args:
        corpus: texts and labels.
        tokens: its splits, tokenized.
        tokenizer: of the model.
        collate: pads a list of rows to tensors.
        checkpoints: where they lie, and which one to go on from.
        fp32_modules: names of modules that stay in FP32.
    """

    corpus: Corpus
    tokens: Mapping[str, datasets.Dataset]
    tokenizer: PreTrainedTokenizerFast
    collate: Collate
    checkpoints: Checkpoints
    fp32_modules: Sequence[str]


def train_recipe(
    config: Config,
    model: PreTrainedModel,
    inputs: Inputs,
    log_curves: LogMetrics,
    log_figures: LogFigures,
    work_dir: Path,
) -> list[Stage]:
    """Run the recipe.

    Args:
        config: resolved.
        model: the pretrained encoder under a new head; trained in place.
        inputs: what it is trained with.
        log_curves: called with a curve's entries and the step over all phases.
        log_figures: called with the teacher's figures and the time of each stage.
        work_dir: scratch folder.

    Returns:
        The stages in their order; the last one is the recipe's result.
    """
    splits = dict(inputs.tokens)
    distillation = None
    if config.distillation is not None:
        teaching = teach(config, config.distillation, inputs.corpus, work_dir)
        log_figures(teaching.figures)
        splits["train"] = teaching.join(splits["train"])
        distillation = inc_distillation(config.distillation)
    smoothing = config.trainer.label_smoothing_factor
    material = Material(
        splits=splits,
        tokenizer=inputs.tokenizer,
        collate=inputs.collate,
        loss=loss_function(
            config.loss, splits["train"]["labels"], len(inputs.corpus.label_names), smoothing
        ),
        distillation=distillation,
        checkpoints=inputs.checkpoints,
        log_metrics=log_curves,
        classification_token_only=config.model.classification_token_only,
    )
    done: list[Stage] = []
    for phase in phases(config, inputs.fp32_modules, len(splits["train"])):
        done.append(
            train(model, phase, material, first_step=sum(earlier.steps for earlier in done))
        )
        model = done[-1].model
        log_figures({f"time/{phase.name}_s": done[-1].seconds})
    if config.qat.post_training is not None:
        done.append(quantize(model, config, splits, inputs.collate, inputs.fp32_modules, work_dir))
        log_figures({f"time/{done[-1].name}_s": done[-1].seconds})
    return done
