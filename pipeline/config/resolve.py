"""Hydra's composed config to the dataclasses, with the checks that no single field can make."""

from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from pipeline.config.checks import check
from pipeline.config.schema import Config
from pipeline.errors import PipelineError, nearest


def known_keys(schema: Any = Config, prefix: str = "") -> list[str]:
    """List every dotted key of a schema; <name> stands where any name goes, as in qat.phases.<name>.learning_rate."""
    keys = []
    hints = get_type_hints(schema)
    for item in fields(schema):
        key, hint = f"{prefix}{item.name}", hints[item.name]
        keys.append(key)
        if is_dataclass(hint):
            keys += known_keys(hint, f"{key}.")
        for value in get_args(hint):
            if is_dataclass(value) and get_origin(hint) is Union:  # Optional
                keys += known_keys(value, f"{key}.")
            elif is_dataclass(value):
                keys += [f"{key}.<name>", *known_keys(value, f"{key}.<name>.")]
    return keys


def unknown_key(key: str) -> str:
    """Say that a dotted key is not in the schema, and which of its siblings are nearest."""
    parents = key.split(".")[:-1]
    while True:
        siblings = [
            known.split(".")[-1]
            for known in known_keys()
            if known.count(".") == len(parents)
            and all(
                part in (typed, "<name>")
                for part, typed in zip(known.split("."), parents, strict=False)
            )
        ]
        if siblings:
            return f"{key} is unknown; {nearest(key.split('.')[len(parents)], siblings)}"
        parents.pop()


def resolve(config: Any) -> Config:
    """Turn Hydra's config into the dataclasses and check what no single field can.

    Args:
        config: the composed DictConfig.

    Returns:
        The resolved config.

    Raises:
        PipelineError: a value is missing or out of range, two values contradict each other, or a given path does not exist.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise PipelineError(f"{missing[0]} has no value; give it as {missing[0]}=VALUE.")
    resolved = OmegaConf.to_object(config)
    if not isinstance(resolved, Config):
        raise TypeError(
            f"resolve() takes a config composed over the schema, not {type(resolved).__name__}"
        )
    for key in _undeclared(OmegaConf.to_container(config, resolve=True), asdict(resolved)):
        raise PipelineError(unknown_key(key))
    check(resolved)
    return resolved


def read_logged(folder: Path) -> DictConfig:
    """Read the config that a run logged; keys that are newer than the run have their defaults.

    Args:
        folder: the run's artifact `config`.
    """
    merged = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.load(folder / "config.yaml"))
    return cast(DictConfig, merged)


def _undeclared(given: Any, declared: Any, prefix: str = "") -> list[str]:
    """List keys that were added with + and are not in the schema."""
    if not isinstance(given, dict) or not isinstance(declared, dict):
        return []
    keys = [f"{prefix}{key}" for key in given if key not in declared]
    for key in given.keys() & declared.keys():
        keys += _undeclared(given[key], declared[key], f"{prefix}{key}.")
    return keys
