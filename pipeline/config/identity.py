"""Tell whether two configs are the same run, and whether two runs train the same weights."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pipeline.config.schema import Config
from pipeline.errors import redacted
from pipeline.names import TRAIN, VALIDATION

# Groups and keys that change no figure: where a run is stored, and the sweep around it.
GROUPS_WITHOUT_EFFECT = ("tracking", "sweep", "objective", "rerun")
TRAINER_KEYS_WITHOUT_EFFECT = ("disable_tqdm", "output_dir", "resume_from_checkpoint")
# Groups that decide the trained weights, and keys of the trainer among them that do not.
WEIGHT_GROUPS = ("model", "dataset", "qat", "trainer", "loss", "distillation", "pruning")
SAVING_KEYS = ("save_strategy", "save_steps", "save_total_limit")
# Keys that the schema had in version 0.1.0. Their defaults stay in every identity, so that sweeps
# and checkpoints of then go on; they may go with the next major version.
RETIRED_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"export": {"vocabulary": "full"}}
# Keys that it did not have. With its default, such a key is in no identity.
ADDED_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"dataset": {"encoding": None}}


def deciding_config(config: Config) -> dict[str, Any]:
    """Return the part of a config that decides a run's figures, as nested dicts.

    Args:
        config: resolved config of the run.
    """
    parts = asdict(config)
    return {name: parts[name] for name in parts if name not in GROUPS_WITHOUT_EFFECT}


def in_terms_of_0_1_0(groups: Mapping[str, Any]) -> dict[str, Any]:
    """Add retired keys with their defaults to the groups of a config, and leave out added ones.

    Args:
        groups: nested dicts by group, as from deciding_config().
    """
    return {name: _group_of_0_1_0(name, group) for name, group in groups.items()}


def _group_of_0_1_0(name: str, group: Any) -> Any:
    if not isinstance(group, Mapping):
        return group
    added = ADDED_DEFAULTS.get(name, {})
    kept = {key: value for key, value in group.items() if key not in added or value != added[key]}
    return {**kept, **RETIRED_DEFAULTS.get(name, {})}


def without_retired_defaults(params: Mapping[str, str]) -> dict[str, str]:
    """Leave retired keys out of a run's parameters where they have their default.

    Args:
        params: parameters of a run as MLflow has them, by dotted key.
    """
    retired = {
        f"{group}.{key}": str(default)
        for group, defaults in RETIRED_DEFAULTS.items()
        for key, default in defaults.items()
    }
    return {key: value for key, value in params.items() if retired.get(key) != value}


def major_version() -> str:
    """Return the pipeline's major version; figures of two major versions are not compared."""
    return version("int8-text-classifiers").split(".")[0]


def config_hash(config: Config) -> str:
    """Hash the deciding part of a config to 16 hex digits.

    Args:
        config: resolved config of the run.

    Returns:
        The same digits for runs that differ in their storage, sweep or progress bar alone.
    """
    parts = in_terms_of_0_1_0(deciding_config(config))
    for name in TRAINER_KEYS_WITHOUT_EFFECT:
        del parts["trainer"][name]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def weights_identity(config: Config, digests: Mapping[str, str]) -> dict[str, str]:
    """Return what decides a run's trained weights, by which a checkpoint is recognized.

    Args:
        config: resolved config of the run.
        digests: digest of each split by its name.

    Returns:
        Values by dotted key, and the digests of train and validation.
    """
    keys = {
        key: value
        for key, value in flatten(config).items()
        if key.partition(".")[0] in WEIGHT_GROUPS and not _is_added_default(key, value)
    }
    for name in (*TRAINER_KEYS_WITHOUT_EFFECT, *SAVING_KEYS):
        del keys[f"trainer.{name}"]
    return keys | {f"{split} (digest)": digests[split] for split in (TRAIN, VALIDATION)}


def _is_added_default(key: str, value: str) -> bool:
    group, _, name = key.partition(".")
    added = ADDED_DEFAULTS.get(group, {})
    return name in added and value == str(added[name])


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
