"""Run a recipe from the pretrained model to its last stage: phases, and quantization."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from pipeline.config.schema import Config
from pipeline.data.corpus import Corpus
from pipeline.data.tokens import LABELS, Collate, Tokens, integers, tokenize
from pipeline.models.load import Pretrained
from pipeline.names import TRAIN
from pipeline.training.callbacks import LogCurves
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.loss import loss_function
from pipeline.training.phases import phases
from pipeline.training.post_training import PostTrainingInputs, quantize
from pipeline.training.schedule import task_of
from pipeline.training.stage import Stage
from pipeline.training.teaching import Teaching, inc_distillation
from pipeline.training.train_phase import TrainingInputs, train

log = logging.getLogger(__name__)

LogFigures = Callable[[Mapping[str, float]], None]
"""Values by the figure's name in MLflow."""


@dataclass(frozen=True)
class RecipeInputs:
    """What a recipe is applied to, beside the model.

    Args:
        corpus: texts and labels.
        tokens: its splits, tokenized.
        tokenizer: tokenizer of the model.
        collate: pads a list of rows to tensors.
        checkpoints: checkpoints of the run, and which one to go on from.
        fp32_modules: names of the modules that stay in FP32.
        teaching: the answers of a teacher; None without distillation.
        work_dir: scratch folder.
    """

    corpus: Corpus
    tokens: Tokens
    tokenizer: PreTrainedTokenizerFast
    collate: Collate
    checkpoints: Checkpoints
    fp32_modules: Sequence[str]
    teaching: Teaching | None
    work_dir: Path


def train_recipe(
    config: Config,
    start: Pretrained,
    inputs: RecipeInputs,
    log_curves: LogCurves,
    log_figures: LogFigures,
) -> list[Stage]:
    """Run the recipe.

    Args:
        config: resolved config of the run.
        start: pretrained encoder under a head.
        inputs: what the recipe is applied to.
        log_curves: takes the entries of curves and their step over all phases.
        log_figures: takes the time of each stage.

    Returns:
        The stages in their order; the last one is the recipe's result.
    """
    splits = dict(inputs.tokens)
    teaching, transfer_rows = inputs.teaching, 0
    if teaching is not None:
        as_tokens = partial(tokenize, tokenizer=inputs.tokenizer, config=config.dataset)
        splits[TRAIN] = teaching.join(inputs.tokens, as_tokens)
        start, transfer_rows = teaching.student or start, teaching.transfer_rows
        teaching.check_width(start.model)
    training = _training_inputs(config, inputs, splits, log_curves)
    stages: list[Stage] = []
    task = task_of(start.model, len(splits[TRAIN]), transfer_rows)
    if not task.is_pretrained:
        log.warning("%s has random weights: it learns from scratch", config.model.name_or_path)
    for phase in phases(config, inputs.fp32_modules, task):
        first_step = sum(stage.steps for stage in stages)
        stages.append(train(start, phase, training, first_step))
        start = Pretrained(stages[-1].model, new_parameters=frozenset())
        log_figures(stages[-1].figures)
    if config.qat.post_training is not None:
        quantization = PostTrainingInputs(
            splits, inputs.collate, inputs.fp32_modules, inputs.work_dir
        )
        stages.append(quantize(start.model, config, quantization))
        log_figures(stages[-1].figures)
    return stages


def last_float_stage(stages: Sequence[Stage]) -> Stage:
    """Return the stage whose float weights stand for FP32.

    Args:
        stages: the stages of a recipe.

    Returns:
        The last stage before quantization, or a recipe's only one.
    """
    return next((stage for stage in reversed(stages) if not stage.quantized), stages[-1])


def _training_inputs(
    config: Config, inputs: RecipeInputs, splits: Tokens, log_curves: LogCurves
) -> TrainingInputs:
    num_labels = len(inputs.corpus.label_names)
    smoothing = config.trainer.label_smoothing_factor
    distillation, states_weight = None, 0.0
    if config.distillation is not None:
        distillation = inc_distillation(config.distillation)
        states_weight = config.distillation.hidden_states_weight
    return TrainingInputs(
        splits=splits,
        tokenizer=inputs.tokenizer,
        collate=inputs.collate,
        loss=loss_function(config.loss, integers(splits[TRAIN], LABELS), num_labels, smoothing),
        distillation=distillation,
        hidden_states_weight=states_weight,
        checkpoints=inputs.checkpoints,
        log_curves=log_curves,
        model=config.model,
    )
