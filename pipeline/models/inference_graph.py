"""Turn a trained classifier into an equal module that computes only what its logits need.

For BERT with a head on the classification token, four things can be left out without any change:

- Positions behind the length that texts are cut at.
- Token types: all zero for a single text, so their one row is added to the position table once. For
  pairs, the difference of their two rows is added to the second text.
- The last layer of the other tokens, which nothing reads. One query per text remains.
- The last layer's keys and values. With one query q per head, q (W_k x + b_k) = (q W_k) x + const,
  and the softmax does not see the constant; the weights p sum to 1, so sum_t p_t (W_v x_t + b_v) =
  W_v (sum_t p_t x_t) + b_v. The two projections of every token become two products with one vector
  per head. (The regrouping is the weight absorption of multi-head latent attention: DeepSeek-V2,
  arXiv:2405.04434, section 2.1.)
"""

import math

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.models.bert.modeling_bert import BertForSequenceClassification, BertLayer

from pipeline.models.first_token import last_layer

TYPES_INPUT = "token_type_ids"
# Added to the scores of padding. exp(-10000) is 0 in float32, and a quantizer's calibration
# survives it, unlike -3.4e38.
MASKED = -10_000.0


def inference_graph(
    model: PreTrainedModel, max_length: int | None = None, sep_token_id: int | None = None
) -> nn.Module:
    """Build the module that is exported.

    Args:
        model: trained FP32 classifier; its weights are shared, not copied, where they stay as they
            are.
        max_length: tokens that texts are cut at; None takes all that the model takes.
        sep_token_id: separator's id for a model of text pairs: what follows its first occurrence
            is the second text; None for single texts, and for pairs without token types.

    Returns:
        A module in evaluation mode from input_ids and attention_mask, both (batch, tokens) int64,
        to logits (batch, num_labels) float32: without the needless work for a BERT whose last layer
        first_token can cut, else the model as it is.
    """
    is_bert = type(model) is BertForSequenceClassification and last_layer(model) is not None
    absolute = getattr(model.config, "position_embedding_type", "absolute") == "absolute"
    if is_bert and absolute:
        return _LeanBert(model, max_length, sep_token_id).eval()
    return Plain(model, sep_token_id).eval()


def token_types(input_ids: torch.Tensor, sep_token_id: int) -> torch.Tensor:
    """Tell the tokens of a pair's first text (0) from those after its separator (1).

    Padding is 1 as well, which nothing reads.

    Args:
        input_ids: token ids, (batch, tokens) int64.
        sep_token_id: id of the separator.
    """
    separators = (input_ids == sep_token_id).long()
    return (torch.cumsum(separators, dim=1) - separators).clamp(max=1)


class Plain(nn.Module):
    """Run a transformers classifier as it is, with its logits as the only output."""

    def __init__(self, model: PreTrainedModel, sep_token_id: int | None = None) -> None:
        super().__init__()
        self.model = model
        # DistilBERT has no token types, RoBERTa one.
        self.sep_token_id = (
            sep_token_id if getattr(model.config, "type_vocab_size", 1) > 1 else None
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Turn token ids and mask (batch, tokens) into logits (batch, num_labels)."""
        types = (
            {}
            if self.sep_token_id is None
            else {TYPES_INPUT: token_types(input_ids, self.sep_token_id)}
        )
        logits: torch.Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, **types
        ).logits
        return logits


class _LeanBert(nn.Module):
    def __init__(
        self,
        model: BertForSequenceClassification,
        max_length: int | None,
        sep_token_id: int | None,
    ) -> None:
        super().__init__()
        self.sep_token_id = sep_token_id
        embeddings, layers = model.bert.embeddings, model.bert.encoder.layer
        self.word_embeddings = embeddings.word_embeddings
        types = embeddings.token_type_embeddings.weight.detach()
        positions = embeddings.position_embeddings.weight.detach()[:max_length]
        self.position_embeddings = nn.Parameter(positions + types[0])
        self.second_text = nn.Parameter(types[1] - types[0]) if sep_token_id is not None else None
        self.norm = embeddings.LayerNorm
        self.layers = nn.ModuleList(_AllTokens(layer) for layer in layers[:-1])
        self.last_layer = _FirstToken(layers[-1])
        self.pooler = model.bert.pooler.dense
        self.classifier = model.classifier

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        embedded = self.word_embeddings(input_ids) + self.position_embeddings[: input_ids.shape[1]]
        if self.sep_token_id is not None and self.second_text is not None:
            embedded = (
                embedded + token_types(input_ids, self.sep_token_id)[..., None] * self.second_text
            )
        hidden = self.norm(embedded)
        masked = ((1 - attention_mask) * MASKED)[:, None, :]
        for layer in self.layers:
            hidden = layer(hidden, masked)
        return self.classifier(torch.tanh(self.pooler(self.last_layer(hidden, masked))))


class _AllTokens(nn.Module):
    """Compute a BertLayer whose queries are scaled in their weights."""

    def __init__(self, layer: BertLayer) -> None:
        super().__init__()
        attention = layer.attention.self
        self.heads, self.size = attention.num_attention_heads, attention.attention_head_size
        self.query = _scaled(attention.query, self.size)
        self.key, self.value = attention.key, attention.value
        self.rest = _Rest(layer)

    def forward(self, hidden: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """Compute the layer's output.

        Args:
            hidden: hidden states, (batch, tokens, hidden).
            masked: MASKED where a token is padding, else 0, (batch, 1, tokens).
        """
        batch, tokens, width = hidden.shape
        query, key, value = (
            project(hidden).view(batch, tokens, self.heads, self.size).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        weights = torch.softmax(query @ key.transpose(-1, -2) + masked[:, None], dim=-1)
        return self.rest((weights @ value).transpose(1, 2).reshape(batch, tokens, width), hidden)


class _FirstToken(nn.Module):
    """Compute a BertLayer for the first token alone, without keys and values."""

    def __init__(self, layer: BertLayer) -> None:
        super().__init__()
        attention = layer.attention.self
        self.heads, self.size = attention.num_attention_heads, attention.attention_head_size
        self.query = _scaled(attention.query, self.size)
        self.key = nn.Parameter(attention.key.weight.detach().view(self.heads, self.size, -1))
        self.value = nn.Parameter(
            attention.value.weight.detach().view(self.heads, self.size, -1).transpose(1, 2)
        )
        self.value_bias = attention.value.bias
        self.rest = _Rest(layer)

    def forward(self, hidden: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """Turn hidden states (batch, tokens, hidden) into the first token's (batch, hidden)."""
        batch, _, width = hidden.shape
        first = hidden[:, 0]
        query = self.query(first).view(batch, self.heads, 1, self.size)
        absorbed = (query @ self.key).squeeze(2)  # (batch, heads, hidden)
        scores = (hidden @ absorbed.transpose(1, 2)).transpose(1, 2)
        weights = torch.softmax(scores + masked, dim=-1)
        mixed = (weights @ hidden).unsqueeze(2)  # (batch, heads, 1, hidden)
        context = (mixed @ self.value).reshape(batch, width) + self.value_bias
        return self.rest(context, first)


class _Rest(nn.Module):
    """Compute what a BertLayer does after attention, without dropout."""

    def __init__(self, layer: BertLayer) -> None:
        super().__init__()
        self.attention_output, self.intermediate, self.output = (
            layer.attention.output,
            layer.intermediate,
            layer.output,
        )

    def forward(self, context: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        attended = self.attention_output.LayerNorm(self.attention_output.dense(context) + hidden)
        return self.output.LayerNorm(self.output.dense(self.intermediate(attended)) + attended)


def _scaled(query: nn.Linear, size: int) -> nn.Linear:
    scaled = nn.Linear(query.in_features, query.out_features)
    scaled.weight = nn.Parameter(query.weight.detach() / math.sqrt(size))
    scaled.bias = nn.Parameter(query.bias.detach() / math.sqrt(size))
    return scaled
