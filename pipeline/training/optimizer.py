"""Give parameters learning rates of their own."""

from collections.abc import Mapping

import torch


def scale_learning_rates(
    optimizer: torch.optim.Optimizer, factors: Mapping[torch.nn.Parameter, float]
) -> None:
    """Move parameters into groups with a factor times the learning rate of their old ones.

    The other groups keep their places: the first one's rate stays the one that the Trainer logs.

    Args:
        optimizer: optimizer before its first step and without a scheduler; changed in place.
        factors: factor by parameter; others keep their rate.
    """
    for group in list(optimizer.param_groups):
        moved: dict[float, list[torch.nn.Parameter]] = {}
        for parameter in group["params"]:
            moved.setdefault(factors.get(parameter, 1.0), []).append(parameter)
        group["params"] = moved.pop(1.0, [])
        for factor, parameters in moved.items():
            optimizer.add_param_group({**group, "params": parameters, "lr": group["lr"] * factor})
