"""Draw the order in which training texts are seen."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler


class LikeLengthSampler(LengthGroupedSampler):
    """Draw batches of like length in random order.

    transformers 4.57 goes from the longest texts to the shortest in every fifty batches. Where
    classes differ in length, successive batches are then of few classes: on clinc150 the two-layer
    MiniLM ended 0.008 less accurate.

    Each epoch is drawn by itself: a resumed run sees the rows in the order of an uninterrupted one.

    Args:
        seed: seed of the first epoch.
        options: LengthGroupedSampler's arguments.
    """

    def __init__(self, seed: int, *options: Any, **more: Any) -> None:
        super().__init__(*options, **more)
        self._seed = seed
        self.set_epoch(0)

    def __iter__(self) -> Iterator[int]:
        """Return the rows of an epoch."""
        rows = list(super().__iter__())
        whole = len(rows) // self.batch_size
        batches = [
            rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)
        ]
        order = torch.randperm(whole, generator=self.generator).tolist()
        # A batch that is not whole has to be the last one.
        return itertools.chain.from_iterable(
            batches[place] for place in [*order, *range(whole, len(batches))]
        )

    def set_epoch(self, epoch: int) -> None:
        """Seed the draw of an epoch; accelerate calls it before each."""
        self.generator.manual_seed(self._seed + epoch)
