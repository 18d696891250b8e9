"""What a run is called in MLflow, and the sentence on its page."""

from pipeline.config.identity import flat
from pipeline.config.schema import Config
from pipeline.redaction import redacted
from pipeline.tracking.store import model_label

NAMED = (
    "model.name_or_path",
    "model.num_hidden_layers",
    "dataset.name",
    "qat.name",
    "trainer.learning_rate",
)


def run_name(config: Config) -> str:
    """Say what differs between runs: model, corpus, recipe and learning rate, and in a sweep every other swept key."""
    rate = f"lr{short(config.trainer.learning_rate)}"
    params = flat(config)
    others = [key for key in config.sweep.swept if key in params and key not in NAMED]
    return "·".join(
        [
            model_label(config.model.name_or_path, config.model.num_hidden_layers),
            config.dataset.name,
            recipe_label(config),
            rate,
            *(f"{_last(key)}{_shown(params[key])}" for key in others),
        ]
    )


def recipe_label(config: Config) -> str:
    """Name the recipe, and what goes with it: finetune_then_qat+distillation+pruning."""
    beside = [name for name in ("distillation", "pruning") if getattr(config, name) is not None]
    return "+".join([config.qat.name, *beside])


def short(value: float) -> str:
    """Write a number as people write learning rates: 3e-4, or 0.00025 where that is not exact."""
    rate = f"{value:.0e}".replace("e-0", "e-")
    return rate if float(rate) == value else f"{value:.3g}"


def _last(key: str) -> str:
    """Shorten a key: trainer.seed to seed, qat.phases.qat.learning_rate to qat.lr."""
    parts = [
        part
        for part in key.split(".")
        if part not in ("trainer", "phases", "model", "dataset", "export")
    ]
    return (
        ".".join(dict.fromkeys(parts))
        .replace("learning_rate", "lr")
        .replace("num_train_epochs", "epochs")
    )


def _shown(value: str) -> str:
    try:
        return short(float(value)) if "." in value or "e-" in value else value
    except ValueError:
        return f"={value}"


def description(config: Config) -> str:
    """One sentence for the run's page in the UI."""
    steps = [
        f"{name} ({'INT8 QAT' if phase.quantize else 'FP32'})"
        for name, phase in config.qat.phases.items()
    ]
    if config.qat.post_training is not None:
        steps.append(f"post-training quantization ({config.qat.post_training.approach}, INT8)")
    model, recipe = redacted(config.model.name_or_path), ", then ".join(steps)
    said = f"`{model}` on `{config.dataset.name}`, recipe `{config.qat.name}`: {recipe}."
    if config.distillation is not None:
        said += f" Taught by `{redacted(config.distillation.teacher)}`."
    if config.pruning is not None:
        said += f" Pruned by {config.pruning.pruning_type} to a sparsity of {config.pruning.target_sparsity:g}."
    return said
