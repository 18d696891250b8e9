"""Find the layers of an encoder, keep some of them, and give each a learning rate of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig, PreTrainedModel

from pipeline.config.schema import ModelConfig
from pipeline.errors import PipelineError

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
    available = getattr(architecture, "num_hidden_layers", None)
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
    """
    place = _layers(model)
    if place is None or len(place.layers) <= len(kept):
        return
    setattr(place.parent, place.name, torch.nn.ModuleList(place.layers[layer] for layer in kept))
    model.config.num_hidden_layers = len(kept)


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
    count = len(place.layers)
    depth_of = {
        id(module.weight): count
        for module in model.base_model.modules()
        if isinstance(module, torch.nn.Embedding)
    }
    for parts in place.parent.children():  # XLM has a list for each part of its layers
        if isinstance(parts, torch.nn.ModuleList) and len(parts) == count:
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
    """Where a model has its layers."""

    parent: torch.nn.Module
    name: str
    layers: torch.nn.ModuleList


def _layers(model: PreTrainedModel) -> _Place | None:
    count = getattr(model.config, "num_hidden_layers", None)
    for module in model.base_model.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ModuleList) and len(child) == count:
                return _Place(module, name, child)
    return None
