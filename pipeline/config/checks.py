"""The checks of a config that no single field can make."""

import re
from importlib.util import find_spec
from pathlib import Path

from pipeline.config.hub import looks_local
from pipeline.config.schema import (
    FASTEST,
    FP32_FORMATS,
    INT8_FORMATS,
    QUANTIZABLE_OP_TYPES,
    Config,
    DistillationConfig,
    PruningConfig,
    QatConfig,
)
from pipeline.errors import PipelineError, nearest

ROUNDING = 1e-9


def check(config: Config) -> None:
    """Make sure that values are in range, do not contradict each other, and that given paths exist.

    Raises:
        PipelineError: the first that is wrong.
    """
    _check_numbers(config)
    _check_recipe(config.qat)
    _check_saving(config)
    _check_distillation(config.distillation)
    _check_weight_pruning(config.pruning)
    _check_export(config)
    _check_paths(config)


def _check_numbers(config: Config) -> None:
    trainer, dataset = config.trainer, config.dataset
    positive = {
        "trainer.learning_rate": trainer.learning_rate,
        "trainer.per_device_train_batch_size": trainer.per_device_train_batch_size,
        "trainer.per_device_eval_batch_size": trainer.per_device_eval_batch_size,
        "trainer.gradient_accumulation_steps": trainer.gradient_accumulation_steps,
        "trainer.logging_steps": trainer.logging_steps,
        "model.num_hidden_layers": config.model.num_hidden_layers,
        "dataset.max_train_samples": dataset.max_train_samples,
        "dataset.max_eval_samples": dataset.max_eval_samples,
        "export.calibration_samples": config.export.calibration_samples,
        "benchmark.seconds": config.benchmark.seconds,
        "benchmark.threads": config.benchmark.threads,
    }
    if trainer.max_steps <= 0:
        positive["trainer.num_train_epochs"] = trainer.num_train_epochs
    for name, phase in config.qat.phases.items():
        positive[f"qat.phases.{name}.learning_rate"] = phase.learning_rate
        positive[f"qat.phases.{name}.num_train_epochs"] = phase.num_train_epochs
    for key, value in positive.items():
        if value is not None and not value > 0:
            raise PipelineError(f"{key}={value} must be above 0.")
    if dataset.max_length < 3:
        raise PipelineError(
            f"dataset.max_length={dataset.max_length} leaves no room for text; it must be at least 3."
        )
    for key, share in (
        ("dataset.validation_size", dataset.validation_size),
        ("dataset.test_size", dataset.test_size),
    ):
        if not 0 < share < 1:
            raise PipelineError(f"{key}={share} must lie between 0 and 1.")
    if trainer.eval_strategy == "steps" and not trainer.eval_steps:
        raise PipelineError("trainer.eval_strategy=steps needs trainer.eval_steps=N.")


def _check_recipe(qat: QatConfig) -> None:
    if not qat.phases:
        raise PipelineError("qat.phases is empty; a recipe needs at least one training phase.")
    early = [name for name, phase in list(qat.phases.items())[:-1] if phase.quantize]
    if early:
        raise PipelineError(
            f"qat.phases.{early[0]}.quantize=true is only possible in the last phase: it converts to INT8."
        )
    for op_type in qat.fp32_op_types:
        if op_type not in QUANTIZABLE_OP_TYPES:
            raise PipelineError(
                f"qat.fp32_op_types: {op_type} is unknown; {nearest(op_type, QUANTIZABLE_OP_TYPES)}"
            )

    for name, phase in qat.phases.items():
        share = phase.freeze_observers_after
        if share is not None and not phase.quantize:
            raise PipelineError(
                f"qat.phases.{name}.freeze_observers_after={share} but the phase has none: it does not quantize."
            )
        if share is not None and not 0 < share < 1:
            raise PipelineError(
                f"qat.phases.{name}.freeze_observers_after={share} must lie between 0 and 1."
            )
    _check_post_training(qat)


def _check_post_training(qat: QatConfig) -> None:
    post_training = qat.post_training
    if post_training is None:
        return
    if any(phase.quantize for phase in qat.phases.values()):
        raise PipelineError(
            "qat.post_training comes after phases that train in FP32; set their quantize to false."
        )
    if qat.weight_granularity == "per_tensor":
        raise PipelineError(
            "qat.weight_granularity=per_tensor is possible in quantization-aware training only; Neural Compressor quantizes "
            "weights per channel after training."
        )
    if post_training.approach == "dynamic" and qat.activation_scheme == "sym":
        raise PipelineError(
            "qat.activation_scheme=sym needs ranges that are known before; choose qat=ptq_static, or asym for ptq_dynamic."
        )
    if post_training.calibration_samples < 1:
        raise PipelineError(
            f"qat.post_training.calibration_samples={post_training.calibration_samples} must be above 0."
        )
    if post_training.max_trials < 1:
        raise PipelineError(
            f"qat.post_training.max_trials={post_training.max_trials} must be above 0."
        )
    if post_training.tolerable_loss is not None and not 0 < post_training.tolerable_loss < 1:
        raise PipelineError(
            f"qat.post_training.tolerable_loss={post_training.tolerable_loss} must lie between 0 and 1."
        )


def _check_saving(config: Config) -> None:
    trainer = config.trainer
    if trainer.early_stopping_patience is not None and not trainer.load_best_model_at_end:
        raise PipelineError(
            "trainer.early_stopping_patience needs trainer.load_best_model_at_end=true."
        )
    if trainer.early_stopping_patience is not None and trainer.early_stopping_patience < 1:
        raise PipelineError(
            f"trainer.early_stopping_patience={trainer.early_stopping_patience} must be above 0."
        )
    if trainer.load_best_model_at_end and (
        trainer.save_strategy == "no" or trainer.save_strategy != trainer.eval_strategy
    ):
        raise PipelineError(
            f"trainer.load_best_model_at_end=true needs a checkpoint of every evaluation; set trainer.save_strategy="
            f"{trainer.eval_strategy if trainer.eval_strategy != 'no' else 'epoch'}, and trainer.eval_strategy alike."
        )
    if (
        trainer.load_best_model_at_end
        and trainer.save_strategy == "steps"
        and trainer.save_steps % (trainer.eval_steps or 1)
    ):
        raise PipelineError(
            f"trainer.save_steps={trainer.save_steps} must be a multiple of trainer.eval_steps={trainer.eval_steps} "
            "with trainer.load_best_model_at_end=true."
        )
    if config.pruning is not None and trainer.load_best_model_at_end:
        raise PipelineError(
            "trainer.load_best_model_at_end cannot go with pruning: the best checkpoint may be one from before it was pruned."
        )
    if config.pruning is not None and trainer.resume_from_checkpoint is not None:
        raise PipelineError(
            "trainer.resume_from_checkpoint cannot go with pruning: Neural Compressor keeps the scores of a pruner in no "
            "checkpoint."
        )
    if config.loss.focal_gamma < 0:
        raise PipelineError(f"loss.focal_gamma={config.loss.focal_gamma} must not be negative.")
    if config.loss.focal_gamma and trainer.label_smoothing_factor:
        raise PipelineError(
            "loss.focal_gamma and trainer.label_smoothing_factor exclude each other; set one of them to 0."
        )


def _check_distillation(distillation: DistillationConfig | None) -> None:
    if distillation is None:
        return
    weights = distillation.loss_weights
    if len(weights) != 2 or min(weights) < 0 or abs(sum(weights) - 1) > ROUNDING:
        raise PipelineError(
            f"distillation.loss_weights={weights} must be two shares that make 1: of the labels, of the teacher."
        )
    if not distillation.temperature > 0:
        raise PipelineError(f"distillation.temperature={distillation.temperature} must be above 0.")
    if looks_local(distillation.teacher) and not Path(distillation.teacher).is_dir():
        raise PipelineError(
            f"distillation.teacher={distillation.teacher} is not a directory{_how_to_fetch(distillation.teacher)}."
        )


def _check_weight_pruning(pruning: PruningConfig | None) -> None:
    if pruning is None:
        return
    if not 0 < pruning.target_sparsity < 1:
        raise PipelineError(
            f"pruning.target_sparsity={pruning.target_sparsity} must lie between 0 and 1."
        )
    of = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", pruning.pattern)
    if not of and not re.fullmatch(r"[1-9]\d*x[1-9]\d*|channelx1|1xchannel", pruning.pattern):
        raise PipelineError(
            f"pruning.pattern={pruning.pattern} is unknown; it is like 1x1, 4x1, channelx1 or 2:4."
        )
    if of and pruning.target_sparsity > int(of[1]) / int(of[2]):
        raise PipelineError(
            f"pruning.target_sparsity={pruning.target_sparsity} is more than pruning.pattern={pruning.pattern} can be: "
            f"{int(of[1]) / int(of[2]):g}."
        )
    if pruning.start_step < 0 or (
        pruning.end_step is not None and pruning.end_step <= pruning.start_step
    ):
        raise PipelineError(
            f"pruning.end_step={pruning.end_step} must be above pruning.start_step={pruning.start_step}, "
            "which must not be negative."
        )
    if pruning.pruning_frequency is not None and pruning.pruning_frequency < 1:
        raise PipelineError(
            f"pruning.pruning_frequency={pruning.pruning_frequency} must be above 0."
        )


def _check_export(config: Config) -> None:
    export = config.export
    known = (*FP32_FORMATS, *INT8_FORMATS)
    for name in export.formats:
        if name not in known:
            raise PipelineError(f"export.formats: {name} is unknown; {nearest(name, known)}")
    if len(set(export.formats)) != len(export.formats):
        raise PipelineError(f"export.formats={export.formats} names a format twice.")
    int8 = [name for name in export.formats if name in INT8_FORMATS and config.qat.quantizes]
    if config.qat.fp32_modules and int8:
        raise PipelineError(
            f"qat.fp32_modules is heeded by the model in PyTorch, not by {int8[0]}, whose quantizer knows no modules; "
            "choose export=none."
        )
    if "Linear" in config.qat.fp32_op_types and int8:
        raise PipelineError(
            f"qat.fp32_op_types has Linear, so that {int8[0]} would have nothing to quantize; choose export=none."
        )
    if "openvino_int8" in int8 and not (find_spec("openvino") and find_spec("nncf")):
        raise PipelineError(
            "export.formats: openvino_int8 needs OpenVINO and NNCF: pip install -e '.[openvino]', or choose export=onnx."
        )
    if config.benchmark.repetitions < 0:
        raise PipelineError(
            f"benchmark.repetitions={config.benchmark.repetitions} must not be negative."
        )
    if export.ship != FASTEST and export.ship not in export.formats:
        raise PipelineError(
            f"export.ship={export.ship} is not made; {nearest(export.ship, [FASTEST, *export.formats])}"
        )


def _check_paths(config: Config) -> None:
    dataset = config.dataset
    for key in ("data_dir", "train_file", "validation_file", "test_file"):
        value = getattr(dataset, key)
        if value is not None and "://" not in value and not Path(value).exists():
            raise PipelineError(f"dataset.{key}={value} does not exist{_how_to_fetch(value)}.")
    if dataset.data_dir and not Path(dataset.data_dir).is_dir():
        raise PipelineError(
            f"dataset.data_dir={dataset.data_dir} is not a directory; for one file use dataset.train_file."
        )
    if dataset.train_file is None and (dataset.validation_file or dataset.test_file):
        raise PipelineError(
            "dataset.train_file has no value; it goes with dataset.validation_file and dataset.test_file."
        )
    if not (dataset.path or dataset.data_dir or dataset.train_file):
        raise PipelineError(
            "dataset.train_file has no value; give dataset.train_file=FILE or dataset.data_dir=DIR."
        )
    if looks_local(config.model.name_or_path) and not Path(config.model.name_or_path).is_dir():
        path = config.model.name_or_path
        raise PipelineError(f"model.name_or_path={path} is not a directory{_how_to_fetch(path)}.")


def _how_to_fetch(path: str) -> str:
    return "; make assets fetches it" if path.startswith("assets/") else ""
