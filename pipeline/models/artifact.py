"""A trained model to a directory that can be deployed, and back."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from neural_compressor.adaptor.torch_utils.util import get_embedding_contiguous
from optimum.intel import INCModelForSequenceClassification
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pipeline.errors import PipelineError
from pipeline.training.stage import Stage

# Eager attention repeats itself bit for bit on the same texts; the rest is room for another BLAS thread count.
RELOAD_TOLERANCE = 1e-4
WEIGHTS = frozenset({".bin", ".onnx", ".safetensors", ".xml"})


@dataclass(frozen=True)
class Artifact:
    """A model directory on disk.

    Args:
        variant: fp32, int8, onnx_fp32, onnx_int8 or openvino_int8; the prefix of its figures.
        path: the directory, with config, weights and tokenizer.
    """

    variant: str
    path: Path

    @property
    def size_mb(self) -> float:
        """Size of the weights on disk, in MB of 1,000,000 bytes."""
        return (
            sum(file.stat().st_size for file in self.path.iterdir() if file.suffix in WEIGHTS) / 1e6
        )


def save_fp32(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, path: Path) -> Artifact:
    """Save a float model as safetensors with its config and tokenizer.

    Args:
        model: trained classifier.
        tokenizer: saved beside it.
        path: directory to write.
    """
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    _pin_eager_attention(path)
    return Artifact("fp32", path)


def save_int8(stage: Stage, tokenizer: PreTrainedTokenizerFast, path: Path) -> Artifact:
    """Save a converted model with its config and tokenizer.

    Args:
        stage: one that quantized.
        tokenizer: saved beside it.
        path: directory to write.
    """
    stage.save(path)
    tokenizer.save_pretrained(path)
    _pin_eager_attention(path)
    return Artifact("int8", path)


def load(artifact: Artifact) -> PreTrainedModel:
    """Load a model as a user of the directory would.

    An INT8 directory of Neural Compressor holds a pickle: load only what you trained yourself.

    Raises:
        PipelineError: the directory does not hold what its variant promises.
    """
    try:
        if artifact.variant == "int8":
            model = INCModelForSequenceClassification.from_pretrained(artifact.path).model
            # neural-compressor 3.7.1 does this for the model that it converts, not for one that it loads: RoBERTa's token
            # types would be refused.
            get_embedding_contiguous(model)
            return model
        return AutoModelForSequenceClassification.from_pretrained(artifact.path)
    except (OSError, ValueError, RuntimeError) as error:
        raise PipelineError(
            f"the {artifact.variant} model cannot be reloaded: {str(error).splitlines()[0]}"
        ) from error


def check_reload(variant: str, in_memory: np.ndarray, reloaded: np.ndarray) -> float:
    """Compare what the model in memory and the one from disk say about the same texts.

    Args:
        variant: named in the error.
        in_memory: logits (rows, num_labels) of the model as trained.
        reloaded: logits (rows, num_labels) of the model from disk.

    Returns:
        The largest absolute difference between two logits.

    Raises:
        PipelineError: a predicted label differs, or a logit differs by more than RELOAD_TOLERANCE.
    """
    differing = int((in_memory.argmax(-1) != reloaded.argmax(-1)).sum())
    largest = float(np.abs(in_memory - reloaded).max())
    if differing or not largest <= RELOAD_TOLERANCE:
        raise PipelineError(
            f"the reloaded {variant} model is not the one that was trained: {differing} of {len(reloaded)} predicted labels "
            f"differ, logits by up to {largest:.3g} (at most {RELOAD_TOLERANCE:g} is accepted)."
        )
    return largest


def _pin_eager_attention(path: Path) -> None:
    """Write the attention implementation into config.json, from where any from_pretrained(path) takes it.

    transformers 4.45 leaves it out, so that a reload would use SDPA: different by 1e-7, enough to flip INT8 roundings.
    """
    file = path / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["_attn_implementation"] = "eager"
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
