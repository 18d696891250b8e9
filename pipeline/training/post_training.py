"""Quantize a trained float model without further training."""

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import datasets
import neural_compressor
import numpy as np
import torch
from optimum.intel import INCQuantizer
from transformers import PreTrainedModel

from pipeline.compression.inc_configs import post_training_config
from pipeline.compression.modules import int8_modules, quantizable_modules
from pipeline.compression.statistics import OpStatistics, captured_statistics
from pipeline.compression.upstream import traced_by_descendants
from pipeline.config.schema import Config, PostTrainingConfig
from pipeline.data.tokens import LENGTH, NUM_TOKENS, Collate, Tokens
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import Evaluator
from pipeline.names import ACCURACY, POST_TRAINING, TRAIN, VALIDATION, time_of
from pipeline.training.stage import Stage

CALIBRATION_BATCH = 8
INT8_OP_TYPES = ("Embedding", "Linear")  # that become INT8, unless the recipe or tuning says no
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PostTrainingInputs:
    """What post-training quantization takes beside the model.

    Args:
        splits: tokenized train and validation.
        collate: pads a list of rows to tensors.
        fp32_modules: names of the modules that stay in FP32.
        work_dir: scratch folder.
    """

    splits: Tokens
    collate: Collate
    fp32_modules: Sequence[str]
    work_dir: Path


@dataclass(frozen=True)
class _Trials:
    """Evaluate the configurations that tuning tries, and log each.

    Args:
        evaluator: runs a model over the validation split.
        accuracies: accuracy of FP32, then of each trial so far.
    """

    evaluator: Evaluator
    accuracies: list[float] = field(default_factory=list)

    def accuracy(self, candidate: torch.nn.Module) -> float:
        """Return the validation accuracy of a candidate."""
        accuracy = self.evaluator.figures(candidate)[ACCURACY]
        name = f"trial {len(self.accuracies)}" if self.accuracies else "FP32"
        self.accuracies.append(accuracy)
        log.info("tuning, %s: validation accuracy %.4f", name, accuracy)
        return accuracy


def quantize(model: PreTrainedModel, config: Config, inputs: PostTrainingInputs) -> Stage:
    """Quantize with INCQuantizer, tuned on the validation split if the recipe asks for it.

    Args:
        model: trained FP32 classifier; it is left as it is.
        config: resolved config: the recipe, the seed and the batch size of evaluations.
        inputs: splits, collator and scratch folder.

    Raises:
        PipelineError: no configuration is as accurate as the recipe asks.
    """
    settings = config.qat.post_training
    if settings is None:
        raise ValueError("the recipe has no post_training")
    evaluator = Evaluator(
        inputs.splits[VALIDATION], inputs.collate, config.trainer.per_device_eval_batch_size
    )
    trials = _Trials(evaluator)
    state = {key: value.detach().clone() for key, value in model.state_dict().items()}
    folder = inputs.work_dir / POST_TRAINING
    started = time.perf_counter()
    try:
        int8_model, statistics = _run_quantizer(model, config, inputs, trials)
    except RuntimeError as error:
        if settings.tolerable_loss is None or len(trials.accuracies) < 2:
            raise
        raise PipelineError(_failed_tuning_line(settings, trials.accuracies)) from error
    seconds = time.perf_counter() - started
    log.info("post-training quantization (%s): %.1f s", settings.approach, seconds)
    converted = int8_modules(int8_model)
    if settings.tolerable_loss is not None:
        names = quantizable_modules(model, INT8_OP_TYPES)
        left = [name for name in names if name not in converted]
        log.info("left in FP32: %s", ", ".join(left) or "nothing")
    return Stage(
        name=POST_TRAINING,
        model=int8_model,
        float_state=state,
        op_statistics=statistics,
        int8_modules=converted,
        steps=0,
        figures={time_of(POST_TRAINING): seconds},
        evaluate=partial(evaluator.figures, int8_model),
        save=partial(shutil.copytree, folder, dirs_exist_ok=True),
    )


def _run_quantizer(
    model: PreTrainedModel, config: Config, inputs: PostTrainingInputs, trials: _Trials
) -> tuple[PreTrainedModel, tuple[OpStatistics, ...]]:
    """Convert the model, and save it to the folder post_training of the scratch folder."""
    settings = config.qat.post_training
    if settings is None:
        raise ValueError("the recipe has no post_training")
    quantizer = INCQuantizer.from_pretrained(
        model,
        task="text-classification",
        eval_fn=None if settings.tolerable_loss is None else trials.accuracy,
        seed=config.trainer.seed,
    )
    # The default workspace is a folder in the current one, with pickles of the trials.
    neural_compressor.set_workspace(str(inputs.work_dir / "neural_compressor"))
    # The caller says in one line that tuning failed.
    logging.getLogger("neural_compressor").setLevel(logging.CRITICAL)
    rows = None
    if settings.approach == "static":
        train = inputs.splits[TRAIN]
        rows = _calibration_rows(train, settings.calibration_samples, config.trainer.seed)
    with captured_statistics() as statistics, traced_by_descendants():
        quantizer.quantize(
            quantization_config=post_training_config(config.qat, settings, inputs.fp32_modules),
            save_directory=inputs.work_dir / POST_TRAINING,
            calibration_dataset=rows,
            batch_size=CALIBRATION_BATCH,
            data_collator=inputs.collate,
        )
    return quantizer._quantized_model, tuple(statistics)  # no public name in optimum-intel 1.27


def _failed_tuning_line(settings: PostTrainingConfig, accuracies: Sequence[float]) -> str:
    return (
        f"none of {len(accuracies) - 1} INT8 configurations is within "
        f"qat.post_training.tolerable_loss={settings.tolerable_loss:g} ({settings.criterion}) of "
        f"FP32's validation accuracy {accuracies[0]:.4f}; the best has {max(accuracies[1:]):.4f}."
    )


def _calibration_rows(train: datasets.Dataset, count: int, seed: int) -> datasets.Dataset:
    drawn = np.random.default_rng(seed).permutation(len(train))[:count]
    return train.select(drawn, keep_in_memory=True).remove_columns([LENGTH, NUM_TOKENS])
