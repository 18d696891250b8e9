"""Start a head that is new near the identity, where its activation allows that.

A pooler with random weights has to be unlearned before the classifier sees what the encoder knows.
tanh is close to the identity for small values, so that a pooler of SCALE times the identity hands
the classification token on almost as it is. ReLU and GELU would cut off its negative half: heads
with these keep the weights that transformers draws.
"""

from collections.abc import Collection

import torch
from transformers import PreTrainedModel

SCALE = 0.5
# By model_type, the square Linear whose output goes through tanh (transformers 4.57).
TANH_LINEAR = {
    "albert": "albert.pooler",
    "bert": "bert.pooler.dense",
    "camembert": "classifier.dense",
    "mpnet": "classifier.dense",
    "roberta": "classifier.dense",
    "squeezebert": "transformer.pooler.dense",
    "xlm-roberta": "classifier.dense",
}


def draw_head(model: PreTrainedModel) -> frozenset[str]:
    """Draw the weights of a classifier behind its encoder anew.

    Args:
        model: classifier; changed in place.

    Returns:
        Names of the parameters that were drawn.
    """
    encoder = model.base_model_prefix
    for name, module in model.named_modules():
        if name.partition(".")[0] != encoder:  # ModernBERT draws its classifier as the whole model
            model._init_weights(module)
    drawn = (name for name, _ in model.named_parameters())
    return frozenset(name for name in drawn if name.partition(".")[0] != encoder)


def start_near_identity(model: PreTrainedModel, new_parameters: Collection[str]) -> frozenset[str]:
    """Set the pooler to SCALE times the identity, if the checkpoint has none that was trained.

    Many a checkpoint holds the pooler that transformers drew at random when it was made
    (all-MiniLM-L6-v2 does): its bias is 0 to the last bit, which no trained one is.

    Args:
        model: classifier; changed in place.
        new_parameters: names of the parameters that the checkpoint lacks.

    Returns:
        Names of the parameters that the checkpoint lacks, or has as they were drawn.
    """
    new = frozenset(new_parameters)
    name = TANH_LINEAR.get(model.config.model_type)
    # A classifier of the checkpoint was trained on its pooler, whatever that is.
    if name is None or not new:
        return new
    linear = model.get_submodule(name)
    if f"{name}.weight" not in new and linear.bias.any():
        return new
    with torch.no_grad():
        torch.nn.init.eye_(linear.weight).mul_(SCALE)
        torch.nn.init.zeros_(linear.bias)
    return new | {f"{name}.weight", f"{name}.bias"}
