"""The last encoder layer computed for the classification token alone, while training.

A sequence classifier reads one token of the last layer. The other tokens' outputs of that layer are never read, so they get
no gradient either; their queries, attention output and feed-forward need not be computed. Keys and values of all tokens are.
"""

from types import MethodType
from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback
from transformers.models.bert.modeling_bert import BertLayer, BertSelfAttention


def last_layer(model: PreTrainedModel) -> torch.nn.Module | None:
    """Return the last encoder layer if its shape is the one this module knows (BERT with eager attention), else None."""
    encoder = getattr(model.base_model, "encoder", None)
    layers = getattr(encoder, "layer", None)
    if (
        not layers
        or model.config.is_decoder
        or model.config.output_hidden_states
        or model.config.output_attentions
    ):
        return None
    layer = layers[-1]
    if (
        type(layer) is BertLayer
        and type(layer.attention.self) is BertSelfAttention
        and layer.chunk_size_feed_forward == 0
    ):
        return layer
    return None


def _forward(
    self: BertLayer,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    head_mask: torch.Tensor | None = None,
    *_: Any,
    **__: Any,
) -> tuple[torch.Tensor]:
    """BertLayer.forward (transformers 4.45, modeling_bert.py) with queries of the first token only.

    Args:
        self: the layer.
        hidden_states: (batch, tokens, hidden).
        attention_mask: (batch, 1, 1, tokens), added to the scores.
        head_mask: as in BertLayer.

    Returns:
        The first token's output, (batch, 1, hidden).
    """
    first = hidden_states[:, :1]
    # BertSelfAttention's cross-attention form: queries from one tensor, keys and values from another.
    context = self.attention.self(first, None, head_mask, hidden_states, attention_mask)[0]
    attended = self.attention.output(context, first)
    return (self.output(self.intermediate(attended), attended),)


class FirstTokenOnly(TrainerCallback):
    """Switch the last layer to the first token while a Trainer trains, and back when it ends.

    The switch waits for the first epoch: INCTrainer traces and fake-quantizes the model at the end of on_train_begin and
    has to see the layer as it will be deployed. It goes back before Neural Compressor converts, so the artifact is plain.
    """

    def __init__(self) -> None:
        self._layer: torch.nn.Module | None = None

    def on_epoch_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:  # noqa: D102
        self._layer = last_layer(model)
        if self._layer is not None:
            self._layer.forward = MethodType(_forward, self._layer)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: D102
        if self._layer is not None:
            del self._layer.forward
            self._layer = None
