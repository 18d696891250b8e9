"""A trained float model to an INT8 one without further training."""

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import datasets
import neural_compressor
import numpy as np
import torch
from optimum.intel import INCQuantizer
from transformers import PreTrainedModel

from pipeline.compression.inc_configs import post_training_config, quantizable
from pipeline.compression.statistics import captured_statistics, int8_modules
from pipeline.config.schema import Config, PostTrainingConfig
from pipeline.data.corpus import Collate
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import split_figures
from pipeline.training.stage import Stage

NAME = "post_training"
CALIBRATION_BATCH = 8
QUANTIZED = (
    "Embedding",
    "Linear",
)  # op types that become INT8 after training, if nothing speaks against it
log = logging.getLogger(__name__)


def quantize(
    model: PreTrainedModel,
    config: Config,
    splits: Mapping[str, datasets.Dataset],
    collate: Collate,
    fp32_modules: Sequence[str],
    work_dir: Path,
) -> Stage:
    """Quantize with INCQuantizer, with accuracy-aware tuning on the validation split if the recipe asks for it.

    Args:
        model: trained FP32 classifier; it is left as it is.
        config: for the recipe, the seed and the batch size of evaluations.
        splits: tokenized train and validation.
        collate: pads a list of rows to tensors.
        fp32_modules: names of modules that stay in FP32.
        work_dir: scratch folder.

    Raises:
        PipelineError: no configuration is as accurate as asked.
    """
    settings = config.qat.post_training
    if settings is None:
        raise ValueError("the recipe has no post_training")
    validation = partial(
        split_figures,
        rows=splits["validation"],
        collate=collate,
        batch_size=config.trainer.per_device_eval_batch_size,
    )
    rows = _calibration_rows(splits["train"], settings.calibration_samples, config.trainer.seed)
    trials: list[float] = []

    def accuracy(candidate: torch.nn.Module) -> float:
        trials.append(validation(candidate)["accuracy"])
        said = "FP32" if len(trials) == 1 else f"trial {len(trials) - 1}"
        log.info("tuning, %s: validation accuracy %.4f", said, trials[-1])
        return trials[-1]

    tuned = settings.tolerable_loss is not None
    quantizer = INCQuantizer.from_pretrained(
        model,
        task="text-classification",
        eval_fn=accuracy if tuned else None,
        seed=config.trainer.seed,
    )
    folder = work_dir / NAME
    # Its default is a folder in the current one; it keeps pickles of its trials there.
    neural_compressor.set_workspace(str(work_dir / "neural_compressor"))
    logging.getLogger("neural_compressor").setLevel(
        logging.CRITICAL
    )  # that tuning found nothing is said below
    started = time.perf_counter()
    state = {key: value.detach().clone() for key, value in model.state_dict().items()}
    with captured_statistics() as statistics:
        try:
            quantizer.quantize(
                quantization_config=post_training_config(config.qat, settings, fp32_modules),
                save_directory=folder,
                calibration_dataset=rows if settings.approach == "static" else None,
                batch_size=CALIBRATION_BATCH,
                data_collator=collate,
            )
        except RuntimeError as error:
            if not tuned or len(trials) < 2:
                raise
            raise PipelineError(
                f"none of {len(trials) - 1} INT8 configurations is within qat.post_training.tolerable_loss="
                f"{settings.tolerable_loss:g} ({settings.criterion}) of FP32's validation accuracy {trials[0]:.4f}; "
                f"the best has {max(trials[1:]):.4f}."
            ) from error
    seconds = time.perf_counter() - started
    quantized = quantizer._quantized_model  # no public name in optimum-intel 1.27
    log.info("post-training quantization (%s): %.1f s", settings.approach, seconds)
    converted = int8_modules(quantized)
    left = [name for name in quantizable(model, QUANTIZED) if name not in converted]
    if tuned:
        log.info("left in FP32: %s", ", ".join(left) or "nothing")
    return Stage(
        name=NAME,
        model=quantized,
        float_state=state,
        op_statistics=tuple(statistics),
        int8_modules=converted,
        steps=0,
        seconds=seconds,
        evaluate=partial(validation, quantized),
        save=partial(shutil.copytree, folder, dirs_exist_ok=True),
    )


def check_calibration(config: PostTrainingConfig, train: datasets.Dataset) -> None:
    """Make sure, before anything is trained, that there are as many texts to calibrate with as the recipe asks for.

    Raises:
        PipelineError: there are not.
    """
    if config.approach == "static" and config.calibration_samples > len(train):
        raise PipelineError(
            f"qat.post_training.calibration_samples={config.calibration_samples} but train has {len(train):,} rows; "
            f"at most {len(train)} can be used."
        )


def _calibration_rows(train: datasets.Dataset, count: int, seed: int) -> datasets.Dataset:
    drawn = np.random.default_rng(seed).permutation(len(train))[:count]
    return train.select(drawn, keep_in_memory=True).remove_columns(["length", "num_tokens"])
