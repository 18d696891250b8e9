import torch

from pipeline.training.optimizer import scale_learning_rates


def test_parameters_get_a_factor_of_the_rate_and_the_other_groups_keep_their_places() -> None:
    encoder, head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(
        [
            {"params": [encoder.weight, head.weight], "weight_decay": 0.1},
            {"params": [encoder.bias, head.bias], "weight_decay": 0.0},
        ],
        lr=1e-3,
    )
    scale_learning_rates(optimizer, dict.fromkeys(head.parameters(), 10.0))
    groups = [
        ([id(each) for each in group["params"]], group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
    ]
    assert groups == [
        ([id(encoder.weight)], 1e-3, 0.1),
        ([id(encoder.bias)], 1e-3, 0.0),
        ([id(head.weight)], 1e-2, 0.1),
        ([id(head.bias)], 1e-2, 0.0),
    ]
