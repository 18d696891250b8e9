"""Name a run in MLflow, and describe it in a few sentences for its page."""

from pathlib import Path

from pipeline.config.identity import flatten
from pipeline.config.schema import Config
from pipeline.errors import redacted

# Keys that every run's name tells already.
ALWAYS_NAMED = (
    "model.name_or_path",
    "model.num_hidden_layers",
    "dataset.name",
    "qat.name",
    "trainer.learning_rate",
)
UNNAMED_PARTS = ("trainer", "phases", "model", "dataset", "export")


def run_name(config: Config) -> str:
    """Name a run by model, corpus, recipe and learning rate, and a job by every swept key besides.

    Args:
        config: resolved config of the run.
    """
    params = flatten(config)
    rate = config.trainer.learning_rate
    swept = [key for key in config.sweep.swept if key in params and key not in ALWAYS_NAMED]
    return "·".join(
        [
            model_label(config.model.name_or_path, config.model.depth),
            config.dataset.name,
            recipe_label(config),
            *([] if rate is None else [f"lr{short_number(rate)}"]),
            *(f"{_short_key(key)}{_short_value(params[key])}" for key in swept),
        ]
    )


def model_label(name_or_path: str, num_hidden_layers: int | None) -> str:
    """Name an encoder and the layers that are kept: assets/minilm with 2 layers is minilm-2L."""
    layers = f"-{num_hidden_layers}L" if num_hidden_layers else ""
    return f"{Path(name_or_path).name}{layers}"


def recipe_label(config: Config) -> str:
    """Name the recipe and what goes with it: finetune_then_qat+distillation+pruning."""
    extras = [name for name in ("distillation", "pruning") if getattr(config, name) is not None]
    return "+".join([config.qat.name, *extras])


def description(config: Config) -> str:
    """Describe a run in a few sentences of Markdown.

    Args:
        config: resolved config of the run.
    """
    steps = [
        f"{name} ({'INT8 QAT' if phase.quantize else 'FP32'})"
        for name, phase in config.qat.phases.items()
    ]
    if config.qat.post_training is not None:
        approach = config.qat.post_training.approach
        steps.append(f"post-training quantization ({approach}, INT8)")
    model, recipe = redacted(config.model.name_or_path), ", then ".join(steps)
    text = f"`{model}` on `{config.dataset.name}`, recipe `{config.qat.name}`: {recipe}."
    if config.distillation is not None:
        text += f" Taught by `{redacted(config.distillation.teacher)}`."
    if config.pruning is not None:
        pruning = config.pruning
        text += f" Pruned by {pruning.pruning_type} to a sparsity of {pruning.target_sparsity:g}."
    return text


def short_number(value: float) -> str:
    """Write a number as people write learning rates: 3e-4, or 0.00025 where that is not exact."""
    rate = f"{value:.0e}".replace("e-0", "e-")
    return rate if float(rate) == value else f"{value:.3g}"


def _short_key(key: str) -> str:
    """Shorten a key: trainer.seed to seed, qat.phases.qat.learning_rate to qat.lr."""
    parts = [part for part in key.split(".") if part not in UNNAMED_PARTS]
    name = ".".join(dict.fromkeys(parts))
    return name.replace("learning_rate", "lr").replace("num_train_epochs", "epochs")


def _short_value(value: str) -> str:
    try:
        return short_number(float(value)) if "." in value or "e-" in value else value
    except ValueError:
        return f"={value}"
