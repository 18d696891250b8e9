"""Choose the precision that a phase computes in; weights, optimizer and evaluation stay in FP32."""

import logging
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from pipeline.config.schema import TrainerConfig
from pipeline.errors import PipelineError, reason_line

log = logging.getLogger(__name__)


def with_precision(
    trainer: TrainerConfig, quantizes: bool, model: PreTrainedModel
) -> TrainerConfig:
    """Decide whether the forward pass of a phase is in bfloat16, wherever autocast allows it.

    Where trainer.bf16 is not set, that is a phase in FP32 of a model that can, on a CPU with
    instructions for it. A phase that quantizes is not: bfloat16 has eight significant bits, as many
    as INT8, so that its rounding would hide that of the fake-quantization.

    Args:
        trainer: TrainingArguments of the phase.
        quantizes: whether the phase fake-quantizes.
        model: the classifier that is trained.

    Returns:
        The trainer group with bf16 set.

    Raises:
        PipelineError: it is asked for, and the model cannot.
    """
    if trainer.bf16 is False or (trainer.bf16 is None and quantizes):
        return replace(trainer, bf16=False)
    if trainer.bf16 is None and not has_bfloat16_instructions():
        return replace(trainer, bf16=False)
    reason = _why_not(model)
    if reason and trainer.bf16:
        raise PipelineError(f"trainer.bf16=true is not possible: {reason}.")
    if reason:
        log.info(reason)
    return replace(trainer, bf16=not reason)


def answering(trainer: TrainerConfig, model: PreTrainedModel) -> AbstractContextManager[object]:
    """Return a context in which a teacher answers texts, in the precision of an FP32 phase.

    Args:
        trainer: TrainingArguments of the run that is taught.
        model: the teacher.

    Raises:
        PipelineError: bfloat16 is asked for, and the teacher cannot.
    """
    precise = with_precision(trainer, quantizes=False, model=model)
    return torch.autocast("cpu", torch.bfloat16, enabled=bool(precise.bf16))


def has_bfloat16_instructions() -> bool:
    """Return whether this CPU multiplies matrices in bfloat16, with AMX or AVX512_BF16."""
    # torch (2.13) has no public name for these.
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def _why_not(model: PreTrainedModel) -> str:
    """Try a batch, and say why it fails; DeBERTa's masks are too low a number (transformers 4.57).

    Returns:
        A line, empty where nothing fails.
    """
    input_ids = torch.zeros((2, 4), dtype=torch.long)
    attention_mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    was_training = model.training
    model.eval()  # dropout would draw from the random numbers of training
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            model(input_ids=input_ids, attention_mask=attention_mask)
    except RuntimeError as error:
        return f"{model.config.model_type} does not take bfloat16: {reason_line(error)}"
    finally:
        model.train(was_training)
    return ""
