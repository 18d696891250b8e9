"""A model and its tokenizer cut to the vocabulary that a corpus needs.

The word embeddings are most of a small model, and a corpus uses a fraction of them. WordPiece takes the longest piece that
matches, so a text whose pieces are all kept is split as before; any other is split into smaller pieces, down to characters.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pipeline.errors import PipelineError

CONTINUING = "##"


def kept_ids(tokenizer: PreTrainedTokenizerFast, rows: Iterable[Sequence[int]]) -> np.ndarray:
    """List the ids that stay: special tokens, every single character, and whatever occurs in the rows.

    Args:
        tokenizer: with a WordPiece model.
        rows: token ids of the training texts.

    Returns:
        Ids in ascending order, int64.

    Raises:
        PipelineError: the tokenizer is of another kind.
    """
    kind = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"]
    if kind != "WordPiece":
        raise PipelineError(
            f"export.vocabulary=corpus needs a WordPiece tokenizer; this one is {kind}. Choose export.vocabulary=full."
        )
    kept = set(tokenizer.all_special_ids)
    kept |= {
        index
        for token, index in tokenizer.get_vocab().items()
        if len(token.removeprefix(CONTINUING)) == 1
    }
    for row in rows:
        kept.update(row)
    return np.array(sorted(kept), np.int64)


def cut_tokenizer(tokenizer: PreTrainedTokenizerFast, kept: np.ndarray) -> PreTrainedTokenizerFast:
    """Build a tokenizer that knows the kept tokens only, numbered by their place in kept."""
    new_ids = {int(old): new for new, old in enumerate(kept)}
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = parts["model"]["vocab"]
    parts["model"]["vocab"] = {
        token: new_ids[index] for token, index in vocabulary.items() if index in new_ids
    }
    for token in parts["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    parts["post_processor"] = _renumbered(parts["post_processor"], new_ids)
    return type(tokenizer)(
        tokenizer_object=Tokenizer.from_str(json.dumps(parts)), **_own_arguments(tokenizer)
    )


def cut_model(model: PreTrainedModel, kept: np.ndarray) -> PreTrainedModel:
    """Keep the rows of the word embeddings, in place; returns the model."""
    embeddings = model.get_input_embeddings()
    pad_token_id = int(np.searchsorted(kept, model.config.pad_token_id))
    smaller = torch.nn.Embedding(len(kept), embeddings.embedding_dim, padding_idx=pad_token_id)
    smaller.weight = torch.nn.Parameter(embeddings.weight.detach()[torch.from_numpy(kept)])
    model.set_input_embeddings(smaller)
    model.config.vocab_size, model.config.pad_token_id = len(kept), pad_token_id
    return model


def _renumbered(part: Any, new_ids: dict[int, int]) -> Any:
    """Renumber a post-processor: TemplateProcessing has {"id": token, "ids": [n]}, BertProcessing has [token, n]."""
    if isinstance(part, dict):
        return {
            key: [new_ids[index] for index in value]
            if key == "ids"
            else _renumbered(value, new_ids)
            for key, value in part.items()
        }
    if isinstance(part, list):
        if len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], int):
            return [part[0], new_ids[part[1]]]
        return [_renumbered(value, new_ids) for value in part]
    return part


def _own_arguments(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What a tokenizer was made with, but for the files that it was read from."""
    files = {
        "vocab_file",
        "tokenizer_file",
        "merges_file",
        "name_or_path",
        "added_tokens_decoder",
        "tokenizer_object",
    }
    return {key: value for key, value in tokenizer.init_kwargs.items() if key not in files}
