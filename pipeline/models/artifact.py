"""Save a trained model to a directory, and load it as a user of the directory would."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pipeline.compression.upstream import load_int8
from pipeline.errors import PipelineError
from pipeline.inference.classifier import MODEL_CONFIG_FILE
from pipeline.names import INT8

WEIGHT_SUFFIXES = frozenset({".bin", ".onnx", ".safetensors", ".skops", ".xml"})
BYTES_PER_MB = 1e6
# What transformers, torch and Neural Compressor raise for files that are missing, cut or no models.
LOAD_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    SafetensorError,
)


@dataclass(frozen=True)
class Artifact:
    """A model directory on disk.

    Args:
        variant: linear, teacher, fp32, int8, onnx_fp32, onnx_int8 or openvino_int8; the prefix of
            its figures.
        path: directory with config, weights and tokenizer; the linear model is one file.
    """

    variant: str
    path: Path

    @property
    def size_mb(self) -> float:
        """Size of the weights on disk, in MB of 1,000,000 bytes."""
        weights = [file for file in self.path.iterdir() if file.suffix in WEIGHT_SUFFIXES]
        return sum(file.stat().st_size for file in weights) / BYTES_PER_MB


def save_artifact(
    variant: str,
    save: Callable[[Path], None],
    tokenizer: PreTrainedTokenizerFast,
    path: Path,
) -> Artifact:
    """Save a model with its config and tokenizer.

    transformers 4.45 leaves the attention implementation out of config.json, so that a reload
    would use SDPA. That differs from eager attention by 1e-7, enough to flip roundings in INT8;
    eager is therefore written into the file.

    Args:
        variant: fp32 or int8.
        save: writes the weights and config.json into a directory: a float model's
            save_pretrained, or what INCTrainer or INCQuantizer saves.
        tokenizer: tokenizer of the model.
        path: directory to write.
    """
    save(path)
    tokenizer.save_pretrained(path)
    file = path / MODEL_CONFIG_FILE
    config = json.loads(file.read_text(encoding="utf-8"))
    config["_attn_implementation"] = "eager"
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return Artifact(variant, path)


def load(artifact: Artifact) -> PreTrainedModel:
    """Load a model as a user of the directory would.

    Nothing of the directory runs: weights are read as safetensors or with torch's restricted
    unpickler, and code that config.json names stays where it is.

    Args:
        artifact: teacher, fp32 or int8 directory.

    Raises:
        PipelineError: the directory does not hold what its variant promises.
    """
    try:
        if artifact.variant == INT8:
            return load_int8(artifact.path)
        # Of a config, transformers 4.57 takes the attention that it was saved with, which may name
        # a kernel of the Hub, and that is code; given beside a config, the argument wins.
        config = AutoConfig.from_pretrained(artifact.path, trust_remote_code=False)
        return AutoModelForSequenceClassification.from_pretrained(
            artifact.path, config=config, trust_remote_code=False, attn_implementation="eager"
        )
    except LOAD_ERRORS as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise PipelineError(
            f"the {artifact.variant} model cannot be reloaded from {artifact.path}: {reason}"
        ) from error
