"""Choose what a phase trains of the embedding tables."""

import contextlib
from collections.abc import Iterable, Iterator

import datasets
import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from pipeline.data.tokens import token_ids


@contextlib.contextmanager
def frozen(model: PreTrainedModel) -> Iterator[None]:
    """Keep the embedding tables from being trained while the block runs.

    Args:
        model: the classifier.
    """
    tables = list(model.base_model.embeddings.parameters())
    for table in tables:
        table.requires_grad_(False)
    try:
        yield
    finally:
        for table in tables:
            table.requires_grad_(True)


@contextlib.contextmanager
def used_rows_alone(
    model: PreTrainedModel, splits: Iterable[datasets.Dataset], pad_token_id: int
) -> Iterator[None]:
    """Leave the words that no text has out of the word embeddings while the block runs.

    They get no gradient, but an optimizer would pass over all of them in each step, and a
    checkpoint would hold them with the optimizer's two states of each. Of a small encoder they are
    most of its weights. Nothing else changes, but that they do not decay either.

    Args:
        model: the classifier; within the block its table has the used rows, in their order.
        splits: tokenized texts that the model sees within the block.
        pad_token_id: id that shorter texts of a batch are filled with.
    """
    table = model.get_input_embeddings()
    if type(table) is not nn.Embedding:
        yield
        return
    whole, padding = table.weight, table.padding_idx
    beside_texts = [pad_token_id, pad_token_id if padding is None else padding]
    used = torch.from_numpy(np.unique(np.concatenate([*map(token_ids, splits), beside_texts])))
    place = torch.zeros(whole.shape[0], dtype=torch.long)
    place[used] = torch.arange(len(used))
    table.weight = nn.Parameter(whole.detach()[used], whole.requires_grad)
    table.padding_idx = None if padding is None else int(place[padding])
    lookup = table.register_forward_pre_hook(lambda _, inputs: (place[inputs[0]], *inputs[1:]))
    try:
        yield
    finally:
        lookup.remove()
        with torch.no_grad():
            whole[used] = table.weight
        table.weight, table.padding_idx = whole, padding
