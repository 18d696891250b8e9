"""Choose the precision that a phase computes in; weights, optimizer and evaluation stay in FP32."""

import torch

from pipeline.config.schema import TrainerConfig


def uses_bfloat16(trainer: TrainerConfig, quantizes: bool) -> bool:
    """Decide whether the forward pass of a phase is in bfloat16, wherever autocast allows it.

    Where trainer.bf16 is not set, that is a phase in FP32 on a CPU with instructions for it. A
    phase that quantizes is not: bfloat16 has eight significant bits, as many as INT8, so that its
    rounding would hide that of the fake-quantization.

    Args:
        trainer: TrainingArguments of the phase.
        quantizes: whether the phase fake-quantizes.
    """
    if trainer.bf16 is not None:
        return trainer.bf16
    return not quantizes and has_bfloat16_instructions()


def has_bfloat16_instructions() -> bool:
    """Return whether this CPU multiplies matrices in bfloat16, with AMX or AVX512_BF16."""
    # torch (2.13) has no public name for these.
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
