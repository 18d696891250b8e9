"""Load the tokenizer and a classifier with a new head from a model config."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.pytorch_utils import Conv1D

from pipeline.config.hub import LOCAL_HINT, looks_local
from pipeline.config.paths import is_file
from pipeline.config.schema import ModelConfig
from pipeline.errors import PipelineError, first_line
from pipeline.models.head import draw_head, start_near_identity
from pipeline.models.layers import WITHOUT_LAYERS_TO_CHOOSE, keep_layers, kept_layers

# What a model directory has to hold: one file of each kind.
DIRECTORY_FILES = {
    "config": ("config.json",),
    "weights": (
        "model.safetensors",
        "pytorch_model.bin",
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
    ),
    "tokenizer": ("tokenizer.json", "vocab.txt", "vocab.json"),
}
LISTED_FILES = 10  # that an error names
POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe")

# Architectures whose INT8 model is wrong, by model_type, with what was measured on random weights.
_RELOADS_DIFFERENT = (
    "the INT8 model that Neural Compressor 3.7 loads gives other answers than the one that it "
    "converted"
)
NOT_QUANTIZABLE = {"deberta": _RELOADS_DIFFERENT, "deberta-v2": _RELOADS_DIFFERENT}


@dataclass(frozen=True)
class Pretrained:
    """A classifier that is ready to be fine-tuned.

    Args:
        model: pretrained encoder under a head.
        new_parameters: names of the parameters that the checkpoint lacks: the classifier, and the
            pooler if it has none that was trained.
    """

    model: PreTrainedModel
    new_parameters: frozenset[str]


def check_quantizable(model: PreTrainedModel) -> None:
    """Refuse, before training, an architecture that Neural Compressor quantizes wrongly.

    Args:
        model: float classifier.

    Raises:
        PipelineError: the architecture is not quantized, or reloads as another model.
    """
    reason = NOT_QUANTIZABLE.get(model.config.model_type)
    if any(isinstance(module, Conv1D) for module in model.modules()):
        reason = "its layers are transformers' Conv1D, which Neural Compressor 3.7 leaves in FP32"
    if reason is not None:
        raise PipelineError(
            f"{model.config.model_type} cannot be quantized: {reason}. "
            "qat=none fine-tunes it in FP32."
        )


def check_max_length(model: PreTrainedModel, max_length: int) -> None:
    """Refuse texts that are longer than the model's table of positions.

    A tokenizer that was stored without a limit does not tell (prajjwal1/bert-tiny).

    Args:
        model: classifier.
        max_length: tokens that texts will be cut at.

    Raises:
        PipelineError: the model has fewer positions.
    """
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in POSITION_TABLES and isinstance(module, torch.nn.Embedding):
            # RoBERTa's positions begin behind that of the padding.
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            if max_length > module.num_embeddings - unused:
                raise PipelineError(
                    f"dataset.max_length={max_length} is more than {model.config.model_type} takes "
                    f"here; at most {module.num_embeddings - unused}."
                )


def check_vocabulary(model: PreTrainedModel, highest_id: int) -> None:
    """Refuse a tokenizer with more tokens than the model has words.

    Args:
        model: classifier.
        highest_id: highest token id of the texts.

    Raises:
        PipelineError: the model has no word with that id.
    """
    words = model.get_input_embeddings().num_embeddings
    if highest_id >= words:
        raise PipelineError(
            f"{model.name_or_path} has {words} words, but its tokenizer gives token {highest_id}: "
            "the two do not belong together."
        )


def name_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Let a model's config name the token that fills texts up, where it names none (GPT-2).

    Who deploys the model asks its config, and some models look for a text's last token by it. A
    token that is named stays: RoBERTa's positions begin behind it.

    Args:
        model: classifier; its config is changed in place.
        tokenizer: its tokenizer.
    """
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id


def load_config(config: ModelConfig) -> PretrainedConfig:
    """Load the config of a checkpoint as it is stored.

    Args:
        config: the model group.

    Raises:
        PipelineError: the directory or the Hub has none.
    """
    _check_directory(config)
    stored: PretrainedConfig = _from_pretrained(AutoConfig, config)
    return stored


def load_tokenizer(config: ModelConfig, max_length: int) -> PreTrainedTokenizerFast:
    """Load the model's tokenizer, without the columns that the model does not take.

    Many a DistilBERT is stored with BERT's tokenizer, whose token_type_ids it refuses; an encoder
    with one token type has no embedding for those of a pair's second text.

    Args:
        config: the model group.
        max_length: tokens that texts will be cut at.

    Raises:
        PipelineError: the directory or the Hub has no fast tokenizer or none that can fill texts
            up, or the model takes fewer tokens than max_length.
    """
    model_config = load_config(config)
    tokenizer = _from_pretrained(AutoTokenizer, config)
    architecture = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(model_config), None)
    if architecture is not None:
        taken = set(inspect.signature(architecture.forward).parameters)
        if getattr(model_config, "type_vocab_size", None) == 1:
            taken.discard("token_type_ids")
        names = [name for name in tokenizer.model_input_names if name in taken]
        if names != tokenizer.model_input_names:
            tokenizer = _from_pretrained(AutoTokenizer, config, model_input_names=names)
    if max_length > tokenizer.model_max_length:
        raise PipelineError(
            f"dataset.max_length={max_length} is more than {config.name_or_path} takes; "
            f"at most {tokenizer.model_max_length}."
        )
    if not tokenizer.is_fast:
        raise PipelineError(
            f"the tokenizer of {config.name_or_path} has no fast version (tokenizer.json), which "
            "is what the deployed model reads."
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise PipelineError(
                f"the tokenizer of {config.name_or_path} has no padding token, and no end of text "
                "in its place; save it with pad_token."
            )
        tokenizer.pad_token = tokenizer.eos_token  # as of GPT-2, whose texts are never padded
    return tokenizer


def load_model(config: ModelConfig, label_names: Sequence[str]) -> Pretrained:
    """Load the pretrained encoder with a classification head of one logit per label.

    The head is new, unless the checkpoint has one of that shape that is not of other classes.

    Attention is eager: SDPA differs from it by 1e-7, which flips roundings in an INT8 model, and
    the implementation is not saved with the weights. Weights are read as safetensors or with
    torch's restricted unpickler (transformers 4.57 passes weights_only=True); code from a model
    repository is never run.

    Args:
        config: the model group.
        label_names: classes in the order of their ids.

    Raises:
        PipelineError: there are no weights, they lack layers of the encoder, or fewer layers exist
            than asked for.
    """
    _check_directory(config)
    architecture = _architecture(config, label_names)
    kept = kept_layers(config, architecture)
    if kept is not None and architecture.model_type in WITHOUT_LAYERS_TO_CHOOSE:
        architecture.num_hidden_layers = len(kept)
    model, info = _from_pretrained(
        AutoModelForSequenceClassification,
        config,
        config=architecture,
        attn_implementation="eager",
        ignore_mismatched_sizes=True,  # a checkpoint with another head: the head is new anyway
        output_loading_info=True,
    )
    encoder = f"{model.base_model_prefix}."
    lacking = {*info["missing_keys"], *info["mismatched_keys"]}
    wrong = sorted(key for key in lacking if key.startswith(encoder) and "pooler." not in key)
    if wrong:
        raise PipelineError(
            f"{config.name_or_path} does not hold the weights of a {model.config.model_type} "
            f"encoder: {len(wrong)} tensors are missing, or of another shape than config.json "
            f"says, among them {wrong[0]}."
        )
    if _is_of_other_classes(load_config(config), label_names):
        lacking |= draw_head(model)
    if kept is not None:
        keep_layers(model, kept)
    return Pretrained(model, start_near_identity(model, lacking))


def load_classifier(config: ModelConfig) -> PreTrainedModel:
    """Load a classifier that was trained before, with all of its layers and its own labels.

    Args:
        config: the model group.

    Raises:
        PipelineError: it cannot be loaded, or its head was never trained.
    """
    stored = load_config(config)
    labels = [stored.id2label[id_] for id_ in range(stored.num_labels)]
    start = load_model(replace(config, num_hidden_layers=None, layers=None), labels)
    if start.new_parameters:
        raise PipelineError(
            f"{config.name_or_path} does not hold the weights of a whole classifier: "
            f"{', '.join(sorted(start.new_parameters))} are missing."
        )
    return start.model


def is_pretrained(model: PreTrainedModel) -> bool:
    """Return whether the encoder of a classifier was ever trained.

    Biases are drawn as 0 and the weights of norms as 1; no training leaves all of them there.

    Args:
        model: classifier with a new head.
    """
    vectors = (weight for weight in model.base_model.parameters() if weight.ndim == 1)
    return any(bool(vector.ne(vector[0]).any()) for vector in vectors)


def _architecture(config: ModelConfig, label_names: Sequence[str]) -> PretrainedConfig:
    return _from_pretrained(
        AutoConfig,
        config,
        num_labels=len(label_names),
        id2label=dict(enumerate(label_names)),
        label2id={name: index for index, name in enumerate(label_names)},
        problem_type="single_label_classification",  # whatever the checkpoint was trained for
    )


def _is_of_other_classes(stored: PretrainedConfig, label_names: Sequence[str]) -> bool:
    """Return whether a checkpoint names its classes, and they are others, or in another order."""
    names = [stored.id2label[id_] for id_ in sorted(stored.id2label)]
    unnamed = [f"LABEL_{id_}" for id_ in range(len(names))]  # as transformers calls them
    return names not in (unnamed, list(label_names))


def _check_directory(config: ModelConfig) -> None:
    if not looks_local(config.name_or_path):
        return
    folder = Path(config.name_or_path)
    for kind, names in DIRECTORY_FILES.items():
        if not any(is_file(folder / name) for name in names):
            files = sorted(path.name for path in folder.iterdir())
            raise PipelineError(
                f"the model directory {folder} has no {kind} (one of {', '.join(names)}); "
                f"it has: {', '.join(files[:LISTED_FILES]) or 'nothing'}."
            )


def _from_pretrained(auto_class: Any, source: ModelConfig, **options: Any) -> Any:
    name = source.name_or_path
    try:
        return auto_class.from_pretrained(
            name, revision=source.revision or "main", trust_remote_code=False, **options
        )
    except Exception as error:  # tokenizers 0.22 raises a bare Exception
        reason = first_line(error)
        if looks_local(name):
            raise PipelineError(f"the model in {name} cannot be loaded: {reason}") from error
        raise PipelineError(
            f"model {name} is not a directory here and cannot be loaded from the Hugging Face Hub "
            f"({reason}); to run from local files: {LOCAL_HINT}"
        ) from error
