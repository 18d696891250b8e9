"""Turn Hydra's composed config, or a logged one, into the dataclasses of the schema."""

import re
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.checks import check
from pipeline.config.given_paths import write_home_out
from pipeline.config.identity import RETIRED_DEFAULTS
from pipeline.config.schema import Config
from pipeline.errors import PipelineError, is_redacted, nearest
from pipeline.names import CONFIG_FILE

_INTERPOLATION = re.compile(r"(\\*)\$\{")  # with the backslashes before it
ANY_NAME = "<name>"  # stands in a key where any name goes


def schema_keys(schema: Any = Config, prefix: str = "") -> list[str]:
    """List every dotted key of a schema, such as qat.phases.<name>.learning_rate.

    Args:
        schema: dataclass to list.
        prefix: what its keys begin with.
    """
    keys = []
    hints = get_type_hints(schema)
    for item in fields(schema):
        key, hint = f"{prefix}{item.name}", hints[item.name]
        keys.append(key)
        if is_dataclass(hint):
            keys += schema_keys(hint, f"{key}.")
        for value in get_args(hint):
            if is_dataclass(value) and get_origin(hint) is Union:  # Optional
                keys += schema_keys(value, f"{key}.")
            elif is_dataclass(value):
                keys += [f"{key}.{ANY_NAME}", *schema_keys(value, f"{key}.{ANY_NAME}.")]
    return keys


def unknown_key(key: str) -> str:
    """Say that a dotted key is not in the schema, and which of its siblings are nearest.

    Args:
        key: the unknown key.
    """
    parents = key.split(".")[:-1]
    while not (siblings := list(_children_of(parents))):
        parents.pop()
    return f"{key} is unknown; {nearest(key.split('.')[len(parents)], siblings)}"


def resolve(config: Any) -> Config:
    """Turn Hydra's config into the dataclasses, and check what no single field can tell.

    Args:
        config: the composed DictConfig.

    Returns:
        The resolved config, with the ~ of paths written out.

    Raises:
        PipelineError: a value is missing or out of range, two values contradict each other, or a
            given path does not exist.
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
    write_home_out(resolved)
    check(resolved)
    return resolved


def check_repeatable(folder: Path) -> None:
    """Refuse to repeat a run that made use of a key that the schema no longer has.

    Args:
        folder: the run's artifact `config`.

    Raises:
        PipelineError: a retired key has another value than its default, or a value had a secret,
            which is not logged.
    """
    logged = _logged(folder)
    for path, value in _texts_in(logged):
        if is_redacted(value):
            raise PipelineError(
                f"the run's {path} was {value}: what *** stands for is never logged, so that "
                f"rerun cannot repeat the run; run it anew, with {path}=... as it was."
            )
    for group, defaults in RETIRED_DEFAULTS.items():
        for key, default in defaults.items():
            value = logged.get(group, {}).get(key, default)
            if value != default:
                raise PipelineError(
                    f"the run was made with {group}.{key}={value}, which is no longer there; "
                    "version 0.1.0 repeats it."
                )


def read_logged(folder: Path) -> DictConfig:
    """Read the config that a run logged.

    Args:
        folder: the run's artifact `config`.

    Returns:
        The config over the schema. Keys that are newer than the run have their defaults, and keys
        that the schema no longer has are left out. Values are taken as they stand: an
        interpolation in the config of somebody else's run, such as ${oc.env:SECRET}, is a text.

    Raises:
        PipelineError: the file cannot be read, or has a key or value that the schema refuses.
    """
    logged = _logged(folder)
    for group, defaults in RETIRED_DEFAULTS.items():
        for key in defaults:
            logged.get(group, {}).pop(key, None)
    try:
        return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Config), _literal(logged)))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(f"the run's {CONFIG_FILE} is of another schema: {reason}.") from error


def _logged(folder: Path) -> dict[str, Any]:
    try:
        logged = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"the run's {CONFIG_FILE} is missing or damaged: {reason}.") from error
    if not isinstance(logged, dict):
        raise PipelineError(f"the run's {CONFIG_FILE} holds no config.")
    return logged


def _literal(node: Any) -> Any:
    """Write $-brace expressions as OmegaConf takes them for text."""
    if isinstance(node, dict):
        return {key: _literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_literal(value) for value in node]
    if isinstance(node, str):
        return _INTERPOLATION.sub(lambda found: f"{found[1] * 2}\\${{", node)
    return node


def _texts_in(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """List the texts of nested dicts and lists by their dotted keys."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _texts_in(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _texts_in(value, path)
    elif isinstance(node, str):
        yield path, node


def _children_of(parents: list[str]) -> Iterator[str]:
    """List the last parts of the schema's keys right below a key, given as its parts."""
    for key in schema_keys():
        *above, name = key.split(".")
        if len(above) == len(parents) and all(
            part in (typed, ANY_NAME) for part, typed in zip(above, parents, strict=True)
        ):
            yield name


def _undeclared(given: Any, declared: Any, prefix: str = "") -> list[str]:
    """List keys that were added with + and are not in the schema."""
    if not isinstance(given, dict) or not isinstance(declared, dict):
        return []
    keys = [f"{prefix}{key}" for key in given if key not in declared]
    for key in given.keys() & declared.keys():
        keys += _undeclared(given[key], declared[key], f"{prefix}{key}.")
    return keys
