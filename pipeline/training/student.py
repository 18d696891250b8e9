"""Refuse a teacher whose layers the trained model cannot start from, before anything is trained."""

import contextlib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerFast

from pipeline.config.schema import Config, DistillationConfig, ModelConfig
from pipeline.errors import PipelineError
from pipeline.models.layers import LAYERS, kept_layers
from pipeline.models.load import load_config, load_tokenizer

# Keys of every config that change what a model computes; an architecture's own are the arguments of
# its class.
COMMON_KEYS = ("model_type", "is_decoder", "pruned_heads")
# Parts of keys by which trained weights answer no text otherwise.
WITHOUT_EFFECT = ("dropout", "pdrop", "initializer", "use_cache", "compile")
# Parts of a stored tokenizer that change no token: of its last call, and from tokens to texts.
UNUSED_PARTS = ("truncation", "padding", "decoder", "version")
LONGEST_VALUE = 40  # characters that an error shows
MISSING = "missing"


def check_student(
    config: Config, distillation: DistillationConfig, teacher: ModelConfig, *, is_classifier: bool
) -> None:
    """Make sure that the trained model can start from layers of a teacher.

    A run checks, trains and stores with the config and tokenizer of model.name_or_path, so that
    those of the teacher have to be the same, but for the number of layers.

    Args:
        config: resolved config of the run that is taught.
        distillation: the distillation group.
        teacher: where the teacher's weights are, and how many layers an encoder keeps of them.
        is_classifier: whether it has a head for the corpus's labels, and so keeps all layers.

    Raises:
        PipelineError: the teacher lacks layers, or has another architecture or tokenizer.
    """
    model, max_length = config.model, config.dataset.max_length
    here, there = load_config(model), load_config(teacher)
    if not is_classifier and (kept := kept_layers(teacher, there)) is not None:
        with contextlib.suppress(NotImplementedError):  # Funnel is refused when it is to be cut
            setattr(there, LAYERS, len(kept))
    kept_layers(replace(model, name_or_path=f"teacher {distillation.teacher}"), there)
    keys = _deciding_keys(here)
    _compare(distillation, model, _answering(here, keys), _answering(there, keys))
    _check_depth(distillation, model, getattr(here, LAYERS, None), getattr(there, LAYERS, None))
    of_model, of_teacher = (load_tokenizer(each, max_length) for each in (model, teacher))
    _compare(distillation, model, _tokenizing(of_model), _tokenizing(of_teacher))


def _check_depth(
    distillation: DistillationConfig, model: ModelConfig, here: int | None, there: int | None
) -> None:
    """Refuse to keep all layers, where that is another number of the model's than the teacher's."""
    if model.depth is None and here is not None and there is not None and here != there:
        most = min(here, there)
        raise PipelineError(
            f"model.num_hidden_layers has no value, but {model.name_or_path} has {here} layers and "
            f"distillation.teacher={distillation.teacher} {there}; with "
            f"distillation.student_from_teacher=true it has to be given, at most {most}."
        )


def _compare(
    distillation: DistillationConfig,
    model: ModelConfig,
    here: Mapping[str, Any],
    there: Mapping[str, Any],
) -> None:
    """Refuse a teacher with the first key that differs; here is the model's, there its own."""
    for key in {**here, **there}:
        own, other = here.get(key, MISSING), there.get(key, MISSING)
        if own != other:
            raise PipelineError(
                f"distillation.student_from_teacher=true needs a teacher like "
                f"model.name_or_path={model.name_or_path}: there {key}={_shown(own)}, in "
                f"distillation.teacher={distillation.teacher} {_shown(other)}; give "
                "model.name_or_path the teacher's encoder, or "
                "distillation.student_from_teacher=false."
            )


def _deciding_keys(config: PretrainedConfig) -> list[str]:
    """List the keys of a config that change what its model computes, the number of layers apart."""
    own = inspect.signature(type(config).__init__).parameters.values()
    keys = [key.name for key in own if key.kind is key.POSITIONAL_OR_KEYWORD and key.name != "self"]
    layers = {LAYERS, config.attribute_map.get(LAYERS)}
    return [
        key
        for key in (*COMMON_KEYS, *keys)
        if key not in layers and not any(part in key for part in WITHOUT_EFFECT)
    ]


def _answering(config: PretrainedConfig, keys: list[str]) -> dict[str, Any]:
    return dict(_flat({key: getattr(config, key, MISSING) for key in keys}))


def _tokenizing(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return all that the tokens of a text depend on, each value by a key of its own."""
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = {key: stored[key] for key in stored if key not in UNUSED_PARTS}
    taken = dict.fromkeys(tokenizer.model_input_names, True)
    sides = {"truncation_side": tokenizer.truncation_side, "padding_side": tokenizer.padding_side}
    return dict(_flat({"tokenizer": {**sides, "model_input_names": taken, **parts}}))


def _flat(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dicts and lists by their dotted keys."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, value in items:
        path = f"{key}.{name}" if key else str(name)
        if isinstance(value, dict | list | tuple):
            yield from _flat(value, path)
        else:
            yield path, value


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
