"""Compute the last encoder layer for the classification token alone, while training.

A sequence classifier reads the first token of the last layer. The other tokens' outputs of that
layer are never read, so they get no gradient either: their queries, attention output and
feed-forward need not be computed. The keys and values of all tokens need not be either, unless they
are quantized.
"""

import math
from types import MethodType
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, TrainerCallback
from transformers.models.bert.modeling_bert import BertLayer, BertSelfAttention


def last_layer(model: PreTrainedModel) -> nn.Module | None:
    """Return the last encoder layer if it is a BERT layer with eager attention, else None.

    Args:
        model: classifier of any architecture.
    """
    encoder = getattr(model.base_model, "encoder", None)
    layers = getattr(encoder, "layer", None)
    config = model.config
    if not layers or config.is_decoder or config.output_hidden_states or config.output_attentions:
        return None
    layer = layers[-1]
    is_eager_bert = type(layer) is BertLayer and type(layer.attention.self) is BertSelfAttention
    return layer if is_eager_bert and layer.chunk_size_feed_forward == 0 else None


def _forward(
    self: BertLayer,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    head_mask: torch.Tensor | None = None,
    *_: Any,
    **__: Any,
) -> tuple[torch.Tensor]:
    """Compute BertLayer.forward (transformers 4.57, modeling_bert.py) for the first token only.

    Args:
        self: the layer.
        hidden_states: outputs of the layer before, (batch, tokens, hidden).
        attention_mask: mask that is added to the scores, (batch, 1, 1, tokens).
        head_mask: as in BertLayer.

    Returns:
        The first token's output, (batch, 1, hidden).
    """
    first = hidden_states[:, :1]
    attention = self.attention.self
    if head_mask is None and _can_absorb(attention):
        context = absorbed_attention(attention, first, attention_mask, hidden_states)
    else:
        # The cross-attention form of BertSelfAttention: queries from one tensor, keys and values
        # from another.
        context = attention(first, attention_mask, head_mask, hidden_states)[0]
    attended = self.attention.output(context, first)
    return (self.output(self.intermediate(attended), attended),)


def _can_absorb(attention: BertSelfAttention) -> bool:
    # A quantized key or value is wrapped, and its outputs are observed: it has to be computed.
    is_plain = type(attention.key) is nn.Linear and type(attention.value) is nn.Linear
    return is_plain and attention.position_embedding_type == "absolute"


def absorbed_attention(
    self: BertSelfAttention,
    first: torch.Tensor,
    attention_mask: torch.Tensor | None,
    hidden_states: torch.Tensor,
) -> torch.Tensor:
    """Compute BertSelfAttention.forward for one query, without the keys and values of the tokens.

    With one query, the products with the weights of keys and values can be taken once for each head
    instead of once for each token, as in inference_graph. Dropout leaves weights p that do not sum
    to 1, so that the values' bias is multiplied by their sum. The bias of the keys, which the
    softmax does not see, gets no gradient.

    Args:
        self: the attention.
        first: the query's token, (batch, 1, hidden).
        attention_mask: mask that is added to the scores, (batch, 1, 1, tokens).
        hidden_states: all tokens, (batch, tokens, hidden).

    Returns:
        The context, (batch, 1, hidden).
    """
    heads, size = self.num_attention_heads, self.attention_head_size
    key, value = (projection.weight.view(heads, size, -1) for projection in (self.key, self.value))
    query = self.query(first).view(-1, heads, size) / math.sqrt(size)
    absorbed = torch.einsum("bhd,hdw->bhw", query, key)
    scores = absorbed @ hidden_states.transpose(1, 2)  # (batch, heads, tokens)
    if attention_mask is not None:
        scores = scores + attention_mask[:, 0]
    weights = self.dropout(torch.softmax(scores, dim=-1))
    context = torch.einsum("bhw,hdw->bhd", weights @ hidden_states, value)
    bias = weights.sum(-1, keepdim=True) * self.value.bias.view(heads, size)
    return (context + bias).reshape(len(first), 1, -1)


class FirstTokenOnly(TrainerCallback):
    """Switch the last layer to the first token while a Trainer trains, and back when it ends.

    The switch waits for the first epoch: INCTrainer traces and fake-quantizes the model at the end
    of on_train_begin, and has to see the layer as it will be deployed. It goes back before Neural
    Compressor converts, so that the artifact is plain.
    """

    def __init__(self) -> None:
        self._layer: nn.Module | None = None

    def on_epoch_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Switch to the first token."""
        self._layer = last_layer(model)
        if self._layer is not None:
            self._layer.forward = MethodType(_forward, self._layer)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Switch back."""
        if self._layer is not None:
            del self._layer.forward
            self._layer = None
