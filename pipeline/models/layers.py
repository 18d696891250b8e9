"""Find the layers of an encoder, keep some of them, and give each a learning rate of its own."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig, PreTrainedModel

from pipeline.config.schema import ModelConfig
from pipeline.errors import PipelineError

LAYERS = "num_hidden_layers"  # key of a config, whatever the architecture calls it
NUMBERS = ("layer_idx", "layer_id")  # what layers call their place in the list
# Architectures whose first layers are kept, by model_type, with the reason.
WITHOUT_LAYERS_TO_CHOOSE = {
    "albert": "all layers of ALBERT have the same weights",
    "modernbert": "a layer of ModernBERT attends far or near by its place",
}


def kept_layers(config: ModelConfig, architecture: PretrainedConfig) -> tuple[int, ...] | None:
    """Say which layers of a checkpoint are kept.

    Args:
        config: the model group.
        architecture: config of the checkpoint.

    Returns:
        Their numbers from 0, in ascending order; None if all of them are kept.

    Raises:
        PipelineError: the checkpoint has fewer layers, or none to choose from.
    """
    available = getattr(architecture, LAYERS, None)
    name, kind = config.name_or_path, architecture.model_type
    if available is None:
        return None
    if config.layers is None:
        count = config.num_hidden_layers or available
        if count > available:
            raise PipelineError(
                f"model.num_hidden_layers={count} but {name} has {available} layers."
            )
        if count == available:
            return None
        return tuple(int((part + 0.5) * available / count) for part in range(count))
    if kind in WITHOUT_LAYERS_TO_CHOOSE:
        reason = WITHOUT_LAYERS_TO_CHOOSE[kind]
        raise PipelineError(f"model.layers={config.layers}: {reason}; use model.num_hidden_layers.")
    if config.layers[-1] >= available:
        raise PipelineError(
            f"model.layers={config.layers} but {name} has the layers 0 to {available - 1}."
        )
    return tuple(config.layers)


def keep_layers(model: PreTrainedModel, kept: Sequence[int]) -> None:
    """Take all other layers out of a model; one that was built with fewer layers stays as it is.

    Args:
        model: classifier; changed in place.
        kept: numbers of the layers to keep, from 0 in ascending order.

    Raises:
        PipelineError: layers cannot be taken out of this architecture, or its config cannot say
            that fewer are left.
    """
    kind, count = model.config.model_type, getattr(model.config, LAYERS, None)
    if count == len(kept):
        return
    place = _layers(model)
    reason = "its layers are not in one list"
    if place is not None:
        for name, layers in place.lists.items():
            setattr(place.parent, name, _numbered(layers[layer] for layer in kept))
        name_of_count = model.config.attribute_map.get(LAYERS, LAYERS)
        if getattr(place.parent, name_of_count, None) == count:  # XLM counts them by itself
            setattr(place.parent, name_of_count, len(kept))
        reason = _set_count(model, len(kept))
    if reason:
        raise PipelineError(
            f"model.num_hidden_layers={len(kept)}: {kind} cannot be cut to fewer than its {count} "
            f"layers, because {reason}; leave out model.num_hidden_layers and model.layers."
        )


def _numbered(layers: Iterable[torch.nn.Module]) -> torch.nn.ModuleList:
    """List layers, and let those that know their number (GPT-2, XLM) have their new one."""
    listed = torch.nn.ModuleList(layers)
    for number, layer in enumerate(listed):
        for module in layer.modules():
            for name in NUMBERS:
                if hasattr(module, name):
                    setattr(module, name, number)
    return listed


def _set_count(model: PreTrainedModel, count: int) -> str:
    """Let the config say how many layers are left; return why a model of it is another one."""
    try:
        model.config.num_hidden_layers = count
        with torch.device("meta"):
            built = type(model)(deepcopy(model.config))
    except (NotImplementedError, ValueError, AssertionError) as error:
        return str(error).partition("\n")[0].rstrip(".")
    cut, from_config = (
        {key: each.shape for key, each in made.state_dict().items()} for made in (model, built)
    )
    return "" if cut == from_config else "its config counts them in another way"


def learning_rate_factors(model: PreTrainedModel, embeddings_factor: float) -> dict[str, float]:
    """Let the learning rate fall by one factor a layer, from the last to the embeddings.

    Lower layers hold what is common to all texts and need less change (discriminative fine-tuning:
    Howard and Ruder, arXiv:1801.06146, section 3.2).

    Args:
        model: classifier.
        embeddings_factor: factor of the learning rate for what comes before the layers, and for
            embeddings of positions that stand beside them.

    Returns:
        Factor by name of parameter: 1 for the last layer and what comes after. Nothing for a model
        whose layers have the same weights.
    """
    place = _layers(model)
    if place is None or embeddings_factor == 1:
        return {}
    count = len(next(iter(place.lists.values())))
    depth_of = {
        id(module.weight): count
        for module in model.base_model.modules()
        if isinstance(module, torch.nn.Embedding)
    }
    for parts in place.lists.values():
        for depth, part in enumerate(reversed(parts)):
            depth_of |= {id(parameter): depth for parameter in part.parameters()}
    depth, factors = count, {}
    # Parameters are registered in the order in which a text passes them.
    for name, parameter in model.named_parameters():
        own = depth_of.get(id(parameter))
        depth = 0 if own is not None and own < count else depth
        factors[name] = embeddings_factor ** ((depth if own is None else own) / count)
    return factors


@dataclass(frozen=True)
class _Place:
    """Where a model has its layers: one list by name, or, in XLM, one for each part of a layer."""

    parent: torch.nn.Module
    lists: Mapping[str, torch.nn.ModuleList]


def _layers(model: PreTrainedModel) -> _Place | None:
    count = getattr(model.config, LAYERS, None)
    for module in model.base_model.modules():
        lists = {
            name: child
            for name, child in module.named_children()
            if isinstance(child, torch.nn.ModuleList) and len(child) == count
        }
        if lists:
            return _Place(module, lists)
    return None
