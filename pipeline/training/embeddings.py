"""Choose what a phase trains of the embedding tables."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, TrainerCallback

from pipeline.data.tokens import token_ids


@contextlib.contextmanager
def frozen(model: PreTrainedModel, freeze_embeddings: bool) -> Iterator[None]:
    """Keep the embedding tables from being trained while the block runs, if they are to stay.

    Args:
        model: the classifier.
        freeze_embeddings: whether they are to stay.
    """
    modules = model.base_model.modules() if freeze_embeddings else ()
    tables = [module.weight for module in modules if isinstance(module, nn.Embedding)]
    for table in tables:
        table.requires_grad_(False)
    try:
        yield
    finally:
        for table in tables:
            table.requires_grad_(True)


class UsedRows(TrainerCallback):
    """Leave the words that no text has out of the word embeddings while a phase trains.

    They get no gradient, but an optimizer would pass over all of them in each step, and a
    checkpoint would hold them with the optimizer's two states of each. Of a small encoder they are
    most of its weights. Nothing else changes, but that they do not decay either.

    A callback, because the whole table has to be back between training and Neural Compressor's
    conversion: it goes before the callbacks that read the weights there.

    Args:
        model: the classifier.
        splits: tokenized texts that the model sees in the phase.
        pad_token_id: id that shorter texts of a batch are filled with.
    """

    def __init__(
        self, model: PreTrainedModel, splits: Iterable[datasets.Dataset], pad_token_id: int
    ) -> None:
        table = model.get_input_embeddings()
        self._model, self._is_cut = model, False
        self._path = next(name for name, module in model.named_modules() if module is table)
        self._whole, self._padding = table.weight, table.padding_idx
        beside_texts = [pad_token_id, pad_token_id if self._padding is None else self._padding]
        used = np.unique(np.concatenate([*map(token_ids, splits), beside_texts]))
        self._used = torch.from_numpy(used)
        self._place = torch.zeros(len(self._whole), dtype=torch.long)
        self._place[self._used] = torch.arange(len(used))

    def __enter__(self) -> None:
        """Cut the table to the used rows, in their order."""
        table = self._model.get_input_embeddings()
        table.weight = nn.Parameter(
            self._whole.detach()[self._used], requires_grad=self._whole.requires_grad
        )
        table.num_embeddings = len(self._used)
        table.padding_idx = None if self._padding is None else int(self._place[self._padding])
        table.register_forward_pre_hook(self._look_up)
        self._is_cut = True

    def __exit__(self, *_: object) -> None:
        """Give the table back, if training did not come to its end."""
        if self._is_cut:
            self._restore(self._model)

    def on_train_end(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Give the table back, with its used rows as they are now."""
        self._restore(model)

    def _restore(self, model: nn.Module) -> None:
        # Neural Compressor's preparation for QAT puts a module around the table that has its
        # weight too, and torch's takes its hooks along.
        within = list(model.get_submodule(self._path).modules())
        table = next(module for module in within if isinstance(module, nn.Embedding))
        trained = table.weight
        with torch.no_grad():
            self._whole[self._used] = trained
        for module in within:
            if module._parameters.get("weight") is trained:
                module.weight = self._whole
        table.padding_idx, table.num_embeddings = self._padding, len(self._whole)
        hooks = table._forward_pre_hooks
        for handle in [handle for handle, hook in hooks.items() if hook == self._look_up]:
            del hooks[handle]
        self._is_cut = False

    def _look_up(self, _: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (self._place[inputs[0]],)
