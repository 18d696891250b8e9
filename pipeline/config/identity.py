"""Say what a result depends on; every cache, checkpoint, skip and repetition asks this module.

A result depends on its config, the code, the data with the names of its labels, the pretrained
model with its tokenizer, and the libraries. `Ingredients` holds all of these but the config.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.config.schema import BaselineConfig, Config, DatasetConfig, TrainerConfig
from pipeline.errors import redacted
from pipeline.names import (
    FIGURES_VERSION_TAG,
    LABELS_TAG,
    LIBRARIES_TAG,
    MODEL_TAG,
    SPLITS,
    TEACHER_TAG,
    TRAIN,
    UNLABELLED,
    VALIDATION,
)

# Raise it with every change of the code after which the same ingredients give other figures: what
# was made before is then made again. Version 0.1.0 has none.
FIGURES_VERSION = "3"
# Libraries whose versions may move trained weights, a figure of a run, and a text's tokens.
TRAINING_LIBRARIES = ("torch", "transformers", "tokenizers", "optimum-intel", "neural-compressor")
DECIDING_LIBRARIES = (*TRAINING_LIBRARIES, "onnxruntime", "openvino", "nncf", "scikit-learn")
BASELINE_LIBRARIES = ("scikit-learn", "skops")
TOKEN_LIBRARIES = ("transformers", "tokenizers", "datasets")
# What the cache keeps of a teacher's answers; one with other files is another entry.
ANSWERS_CONTENT = "answers, logits"
# Groups and keys that change no figure: where a run is stored, and the sweep around it.
GROUPS_WITHOUT_EFFECT = ("tracking", "sweep", "objective", "rerun")
TRAINER_KEYS_WITHOUT_EFFECT = ("disable_tqdm", "output_dir", "resume_from_checkpoint")
# Groups that decide the trained weights, and keys of the trainer among them that do not.
WEIGHT_GROUPS = ("model", "dataset", "qat", "trainer", "loss", "distillation", "pruning")
SAVING_KEYS = ("save_strategy", "save_steps", "save_total_limit")
# Keys that the schema had in version 0.1.0, with the only value that can be repeated.
RETIRED_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"export": {"vocabulary": "full"}}
# Keys that it did not have: a comparison does not show them with their defaults.
ADDED_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "dataset": {"encoding": None, "unlabelled_file": None},
    "model": {
        "layers": None,
        "head_learning_rate_factor": 10.0,
        "embeddings_learning_rate_factor": 0.4,
    },
    "trainer": {"bf16": None},
    "baseline": asdict(BaselineConfig()),
}


def deciding_config(config: Config) -> dict[str, Any]:
    """Return the part of a config that decides a run's figures, as nested dicts.

    Args:
        config: resolved config of the run.
    """
    parts = asdict(config)
    return {name: parts[name] for name in parts if name not in GROUPS_WITHOUT_EFFECT}


def comparable_params(params: Mapping[str, str]) -> dict[str, str]:
    """Leave out keys with their defaults that another version of the schema does not have.

    Args:
        params: parameters of a run as MLflow has them, by dotted key.
    """
    defaults = {
        f"{group}.{key}": str(default)
        for groups in (RETIRED_DEFAULTS, ADDED_DEFAULTS)
        for group, keys in groups.items()
        for key, default in keys.items()
    }
    return {key: value for key, value in params.items() if defaults.get(key) != value}


@dataclass(frozen=True)
class Ingredients:
    """What a run's figures depend on beside its config.

    Args:
        digests: digest of each split by its name.
        label_names: classes in the order of their ids.
        model: digest of the files of a model directory, or a commit of the Hub.
        teacher: the same of a teacher, or the id of the run that trained it; empty without one.
    """

    digests: Mapping[str, str]
    label_names: Sequence[str]
    model: str
    teacher: str = ""

    @cached_property  # it asks for the versions of the libraries
    def tags(self) -> dict[str, str]:
        """The tags by which a run tells them; MLflow has the digests as its inputs."""
        return {
            FIGURES_VERSION_TAG: FIGURES_VERSION,
            LIBRARIES_TAG: libraries(DECIDING_LIBRARIES),
            LABELS_TAG: key_of({"label_names": list(self.label_names)}),
            MODEL_TAG: self.model,
            TEACHER_TAG: self.teacher,
        }

    def changed_since(self, tags: Mapping[str, str], digests: Mapping[str, str]) -> list[str]:
        """Name what differs from the ingredients of an earlier run.

        Args:
            tags: tags of the earlier run.
            digests: digest of each of its splits by name.
        """
        return changes((tags, digests), (self.tags, self.digests))


def changes(
    then: tuple[Mapping[str, str], Mapping[str, str]],
    now: tuple[Mapping[str, str], Mapping[str, str]],
) -> list[str]:
    """Name what differs between the ingredients of two runs.

    Args:
        then: tags of one run, and the digest of each of its splits by name.
        now: the same of the other.
    """
    names = {
        FIGURES_VERSION_TAG: "the code",
        LIBRARIES_TAG: "the libraries",
        LABELS_TAG: "the label names",
        MODEL_TAG: "the pretrained model",
        TEACHER_TAG: "the teacher",
    }
    changed = [name for tag, name in names.items() if then[0].get(tag) != now[0].get(tag)]
    given = (*SPLITS, UNLABELLED)
    splits = [split for split in given if then[1].get(split) != now[1].get(split)]
    return changed + [f"the {split} split" for split in splits]


def libraries(names: Iterable[str]) -> str:
    """Write out the versions of libraries without their last number, which moves no figure.

    Args:
        names: names of distributions; those that are not installed are left out.
    """
    versions = []
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            versions.append(f"{name} {'.'.join(version(name).split('.')[:2])}")
    return ", ".join(versions)


def key_of(parts: Mapping[str, Any]) -> str:
    """Hash named parts to 32 hex digits.

    Args:
        parts: values that JSON can write; their names keep them apart.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def config_hash(config: Config) -> str:
    """Hash the deciding part of a config to 16 hex digits.

    Args:
        config: resolved config of the run.

    Returns:
        The same digits for runs that differ in their storage, sweep or progress bar alone.
    """
    parts = deciding_config(config)
    for name in TRAINER_KEYS_WITHOUT_EFFECT:
        del parts["trainer"][name]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def weights_identity(config: Config, ingredients: Ingredients) -> dict[str, str]:
    """Return what decides a run's trained weights, by which a checkpoint is recognized.

    Args:
        config: resolved config of the run.
        ingredients: what they depend on beside it.

    Returns:
        Values by dotted key, the digests of what is trained and chosen on, and the other
        ingredients.
    """
    keys = {
        key: value
        for key, value in flatten(config).items()
        if key.partition(".")[0] in WEIGHT_GROUPS
    }
    for name in _keys_without_effect(config.trainer):
        del keys[f"trainer.{name}"]
    digests = {
        f"{split} (digest)": ingredients.digests[split]
        for split in (TRAIN, VALIDATION, UNLABELLED)
        if split in ingredients.digests
    }
    return keys | digests | _weights_tags(ingredients)


def _keys_without_effect(config: TrainerConfig) -> tuple[str, ...]:
    """List the keys of the trainer group that decide no weights: of saving, unless it chooses."""
    saving = () if config.load_best_model_at_end else SAVING_KEYS
    return (*TRAINER_KEYS_WITHOUT_EFFECT, *saving)


def _weights_tags(ingredients: Ingredients) -> dict[str, str]:
    """Return the ingredients of weights: the runtimes of exports are none of them."""
    return ingredients.tags | {LIBRARIES_TAG: libraries(TRAINING_LIBRARIES)}


def tokens_key(config: DatasetConfig, digests: Mapping[str, str], tokenizer: Sequence[str]) -> str:
    """Name the tokens of a corpus in the cache.

    Args:
        config: the dataset group, for max_length and pairs.
        digests: digest of each split by its name.
        tokenizer: all that the tokenizer's answers depend on.
    """
    return key_of(
        {
            "digests": dict(digests),
            "tokenizer": list(tokenizer),
            "max_length": config.max_length,
            "pairs": config.text_pair_column is not None,
            "libraries": libraries(TOKEN_LIBRARIES),
        }
    )


def baseline_key(config: BaselineConfig, seed: int, ingredients: Ingredients) -> str:
    """Name a linear model in the cache.

    Args:
        config: the baseline group.
        seed: seed by which its training texts are chosen.
        ingredients: the data of the run.
    """
    return key_of(
        {
            "baseline": asdict(config),
            "seed": seed,
            "train": ingredients.digests[TRAIN],
            "label_names": list(ingredients.label_names),
            "libraries": libraries(BASELINE_LIBRARIES),
            "figures": FIGURES_VERSION,
        }
    )


def teacher_key(config: Config, ingredients: Ingredients, trained: TrainerConfig) -> str:
    """Name the weights of a teacher that is fine-tuned, in the cache.

    Args:
        config: resolved config of the run that is taught.
        ingredients: its data, and the teacher's encoder and tokenizer as the model.
        trained: how the teacher is fine-tuned.
    """
    options = asdict(trained)
    for name in _keys_without_effect(trained):
        del options[name]
    return key_of(
        {
            **_read_by_teacher(config),
            "digests": {split: ingredients.digests[split] for split in (TRAIN, VALIDATION)},
            "trainer": options,
            "loss": asdict(config.loss),
            "classification_token_only": config.model.classification_token_only,
            "head_learning_rate_factor": config.model.head_learning_rate_factor,
            "embeddings_learning_rate_factor": config.model.embeddings_learning_rate_factor,
            **_weights_tags(ingredients),
        }
    )


def answers_key(config: Config, ingredients: Ingredients) -> str:
    """Name the answers of a teacher in the cache.

    Args:
        config: resolved config of the run that is taught.
        ingredients: its data, and the teacher's weights and tokenizer as the model.
    """
    parts: dict[str, Any] = {
        **_read_by_teacher(config),
        "bf16": config.trainer.bf16,
        "digests": dict(ingredients.digests),
        "content": ANSWERS_CONTENT,
        **_weights_tags(ingredients),
    }
    if config.distillation is not None and config.distillation.hidden_states_weight:
        parts["hidden_state"] = True
    if config.distillation is not None and config.distillation.transfer_texts:
        parts["transfer"] = [config.distillation.transfer_texts, config.dataset.split_seed]
    return key_of(parts)


def _read_by_teacher(config: Config) -> dict[str, Any]:
    return {
        "max_length": config.dataset.max_length,
        "pairs": config.dataset.text_pair_column is not None,
        "padding": config.dataset.padding,
    }


def flatten(config: Config) -> dict[str, str]:
    """Flatten the deciding part of a config to values by dotted key, without secrets.

    Args:
        config: resolved config of the run.
    """

    def walk(node: Any, prefix: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from walk(value, f"{prefix}.{key}" if prefix else key)
        else:
            yield prefix, redacted(str(node))

    return dict(walk(deciding_config(config), ""))
