"""Check a config: numbers in their ranges, no contradictions, and no missing paths."""

import re
from collections import Counter
from importlib.util import find_spec

from pipeline.config.given_paths import check_paths
from pipeline.config.ranges import ROUNDING, numbers
from pipeline.config.schema import (
    FASTEST,
    QUANTIZABLE_OP_TYPES,
    BaselineConfig,
    Config,
    DatasetConfig,
    DistillationConfig,
    ExportConfig,
    LossConfig,
    PruningConfig,
    QatConfig,
    TrainerConfig,
)
from pipeline.errors import PipelineError, nearest
from pipeline.names import FP32_FORMATS, INT8_FORMATS, OPENVINO_INT8


def check(config: Config) -> None:
    """Make sure that values are in range, agree with each other, and that given paths exist.

    Args:
        config: config to check.

    Raises:
        PipelineError: a value is wrong; the line names its key and what it takes.
    """
    _check_numbers(config)
    _check_recipe(config.qat)
    _check_lengths(config)
    _check_post_training(config.qat)
    _check_best_checkpoint(config.trainer)
    _check_pruned_training(config)
    _check_loss(config.loss, config.trainer)
    _check_distillation(config.distillation, config.dataset)
    _check_weight_pruning(config.pruning)
    _check_baseline(config.baseline)
    _check_export(config.export)
    _check_int8_export(config.export, config.qat)
    _check_dataset(config.dataset)
    _check_layers(config.model.layers)
    check_paths(config)


def _check_numbers(config: Config) -> None:
    for key, value, accepted in numbers(config):
        unused = key == "trainer.num_train_epochs" and config.trainer.max_steps > 0
        if value not in accepted and not unused:
            raise PipelineError(f"{key}={value} must be {accepted}.")
    if config.trainer.eval_strategy == "steps" and not config.trainer.eval_steps:
        raise PipelineError("trainer.eval_strategy=steps needs trainer.eval_steps=N.")


def _check_recipe(qat: QatConfig) -> None:
    if not qat.phases:
        raise PipelineError("qat.phases is empty; a recipe needs at least one training phase.")
    for name, phase in list(qat.phases.items())[:-1]:
        if phase.quantize:
            raise PipelineError(
                f"qat.phases.{name}.quantize=true is only possible in the last phase: it converts "
                "the model to INT8."
            )
    for op_type in qat.fp32_op_types:
        if op_type not in QUANTIZABLE_OP_TYPES:
            raise PipelineError(
                f"qat.fp32_op_types: {op_type} is unknown; {nearest(op_type, QUANTIZABLE_OP_TYPES)}"
            )
    for name, phase in qat.phases.items():
        if phase.freeze_observers_after is not None and not phase.quantize:
            raise PipelineError(
                f"qat.phases.{name}.freeze_observers_after={phase.freeze_observers_after} has "
                "nothing to freeze: the phase does not quantize."
            )


def _check_lengths(config: Config) -> None:
    """Refuse a length in epochs that trainer.max_steps would override."""
    if config.trainer.max_steps <= 0:
        return
    for name, phase in config.qat.phases.items():
        key, epochs = f"qat.phases.{name}.num_train_epochs", phase.num_train_epochs
        if epochs is not None:
            raise PipelineError(
                f"{key}={epochs:g} and trainer.max_steps={config.trainer.max_steps} are two "
                f"lengths of one phase; leave out one of them (trainer.max_steps=-1, {key}=null)."
            )


def _check_post_training(qat: QatConfig) -> None:
    post_training = qat.post_training
    if post_training is None:
        return
    if any(phase.quantize for phase in qat.phases.values()):
        raise PipelineError(
            "qat.post_training needs phases that train in FP32; set their quantize to false."
        )
    if qat.weight_granularity == "per_tensor":
        raise PipelineError(
            "qat.weight_granularity=per_tensor is possible in quantization-aware training only; "
            "Neural Compressor quantizes weights per channel after training."
        )
    if post_training.approach == "dynamic" and qat.activation_scheme == "sym":
        raise PipelineError(
            "qat.activation_scheme=sym needs activation ranges from before inference; choose "
            "qat=ptq_static, or asym for ptq_dynamic."
        )


def _check_best_checkpoint(trainer: TrainerConfig) -> None:
    patience = trainer.early_stopping_patience
    if not trainer.load_best_model_at_end:
        if patience is not None:
            raise PipelineError(
                "trainer.early_stopping_patience needs trainer.load_best_model_at_end=true."
            )
        return
    if trainer.save_strategy == "no" or trainer.save_strategy != trainer.eval_strategy:
        strategy = trainer.eval_strategy if trainer.eval_strategy != "no" else "epoch"
        raise PipelineError(
            "trainer.load_best_model_at_end=true needs a checkpoint at every evaluation; set "
            f"trainer.save_strategy={strategy} and trainer.eval_strategy={strategy}, or "
            "trainer.load_best_model_at_end=false."
        )
    # transformers 4.57 keeps the best figure of all evaluations, and of the checkpoints the newest
    # one that was the best by then.
    if trainer.save_strategy == "steps" and trainer.save_steps != trainer.eval_steps:
        raise PipelineError(
            f"trainer.save_steps={trainer.save_steps} must be trainer.eval_steps="
            f"{trainer.eval_steps} with trainer.load_best_model_at_end=true, which needs a "
            f"checkpoint at every evaluation; set trainer.save_steps={trainer.eval_steps}."
        )


def _check_pruned_training(config: Config) -> None:
    if config.pruning is None:
        return
    if config.trainer.load_best_model_at_end:
        raise PipelineError(
            "trainer.load_best_model_at_end cannot be combined with pruning: the best checkpoint "
            "may be from before the weights were pruned."
        )
    if config.trainer.resume_from_checkpoint is not None:
        raise PipelineError(
            "trainer.resume_from_checkpoint cannot be combined with pruning: Neural Compressor "
            "does not save a pruner's scores in checkpoints."
        )


def _check_loss(loss: LossConfig, trainer: TrainerConfig) -> None:
    if loss.focal_gamma and trainer.label_smoothing_factor:
        raise PipelineError(
            "loss.focal_gamma and trainer.label_smoothing_factor exclude each other; set one of "
            "them to 0."
        )


def _check_distillation(distillation: DistillationConfig | None, dataset: DatasetConfig) -> None:
    if distillation is None:
        if dataset.unlabelled_file is not None:
            raise PipelineError(
                f"dataset.unlabelled_file={dataset.unlabelled_file} has texts for a teacher to "
                "label; name one with +distillation=teacher distillation.teacher=..., or choose "
                "experiment=compress."
            )
        return
    weights = distillation.loss_weights
    if len(weights) != 2 or abs(sum(weights) - 1) > ROUNDING:
        raise PipelineError(
            f"distillation.loss_weights={weights} must be two shares whose sum is 1: the labels' "
            "and the teacher's."
        )
    if distillation.transfer_texts and dataset.text_pair_column is not None:
        raise PipelineError(
            "distillation.transfer_texts makes single texts; with dataset.text_pair_column it has "
            "to be 0."
        )


def _check_weight_pruning(pruning: PruningConfig | None) -> None:
    if pruning is None:
        return
    ratio = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", pruning.pattern)
    if not ratio and not re.fullmatch(r"[1-9]\d*x[1-9]\d*|channelx1|1xchannel", pruning.pattern):
        raise PipelineError(
            f"pruning.pattern={pruning.pattern} is unknown; accepted are patterns such as 1x1, "
            "4x1, channelx1 or 2:4."
        )
    if ratio and pruning.target_sparsity > int(ratio[1]) / int(ratio[2]):
        raise PipelineError(
            f"pruning.target_sparsity={pruning.target_sparsity} is more than "
            f"pruning.pattern={pruning.pattern} allows: {int(ratio[1]) / int(ratio[2]):g}."
        )
    if pruning.end_step is not None and pruning.end_step <= pruning.start_step:
        raise PipelineError(
            f"pruning.end_step={pruning.end_step} must be above "
            f"pruning.start_step={pruning.start_step}."
        )


def _check_baseline(baseline: BaselineConfig | None) -> None:
    if baseline is None:
        return
    for key in ("word_ngram_range", "char_ngram_range"):
        ends = getattr(baseline, key)
        if len(ends) != 2 or ends[0] > ends[1]:
            raise PipelineError(
                f"baseline.{key}={ends} must be the smallest and the largest length, such as [1,2]."
            )


def _check_export(export: ExportConfig) -> None:
    accepted = (*FP32_FORMATS, *INT8_FORMATS)
    for name in export.formats:
        if name not in accepted:
            raise PipelineError(f"export.formats: {name} is unknown; {nearest(name, accepted)}")
    if len(set(export.formats)) != len(export.formats):
        raise PipelineError(f"export.formats={export.formats} names a format twice.")
    if export.ship != FASTEST and export.ship not in export.formats:
        suggestion = nearest(export.ship, [FASTEST, *export.formats])
        raise PipelineError(f"export.ship={export.ship} is not in export.formats; {suggestion}")


def _check_int8_export(export: ExportConfig, qat: QatConfig) -> None:
    int8 = [name for name in export.formats if name in INT8_FORMATS and qat.quantizes]
    if not int8:
        return
    if qat.fp32_modules:
        raise PipelineError(
            f"qat.fp32_modules applies to the PyTorch model only: the quantizer of {int8[0]} does "
            "not know modules; choose export=none."
        )
    if "Linear" in qat.fp32_op_types:
        raise PipelineError(
            f"qat.fp32_op_types has Linear, so that {int8[0]} would have nothing to quantize; "
            "choose export=none."
        )
    if OPENVINO_INT8 in int8 and not (find_spec("openvino") and find_spec("nncf")):
        raise PipelineError(
            f"export.formats: {OPENVINO_INT8} needs OpenVINO and NNCF: pip install openvino nncf, "
            "or choose export=onnx."
        )


def _check_dataset(dataset: DatasetConfig) -> None:
    names = dataset.label_names or []
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise PipelineError(f"dataset.label_names has {twice[0]!r} twice; each is one class.")
    if names and len(names) < 2:
        raise PipelineError(
            f"dataset.label_names={names} has one class only; a classifier needs two."
        )
    if dataset.encoding is not None:
        check_encoding("dataset.encoding", dataset.encoding)


def check_encoding(key: str, value: str) -> None:
    """Refuse an encoding that Python does not know.

    Args:
        key: what it was given as, for the error.
        value: name of the encoding.

    Raises:
        PipelineError: there is none of that name.
    """
    try:
        "".encode(value)
    except LookupError:
        raise PipelineError(
            f"{key}={value} is no encoding of text; accepted are utf-8, utf-16, cp1252, latin-1, "
            "shift_jis and all others that Python knows."
        ) from None


def _check_layers(layers: list[int] | None) -> None:
    if layers is not None and (not layers or layers != sorted(set(layers))):
        raise PipelineError(
            f"model.layers={layers} must name each layer once, in ascending order, such as [1,4]."
        )
