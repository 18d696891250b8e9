"""Give parameters a learning rate of their own."""

from collections.abc import Iterable

import torch


def scale_learning_rate(
    optimizer: torch.optim.Optimizer, parameters: Iterable[torch.nn.Parameter], factor: float
) -> None:
    """Move parameters into groups with a factor times the learning rate of their old ones.

    The other groups keep their places: the first one's rate stays the one that the Trainer logs.

    Args:
        optimizer: optimizer before its first step and without a scheduler; changed in place.
        parameters: the parameters to move.
        factor: factor of the learning rate.
    """
    chosen = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in chosen]
        if moved:
            group["params"] = [each for each in group["params"] if id(each) not in chosen]
            optimizer.add_param_group({**group, "params": moved, "lr": group["lr"] * factor})
