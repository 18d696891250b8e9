"""Plan a sweep: its name, its search space, and the identity by which it is recognised later."""

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pipeline.config.identity import deciding_config
from pipeline.config.schema import Config

# Overrides that decide no figure: the same sweep may be continued with others.
OVERRIDES_WITHOUT_EFFECT = ("sweep.", "tracking")


@dataclass(frozen=True)
class Plan:
    """What a sweep is going to do.

    Args:
        name: name of the sweep's run.
        command: command line, as typed.
        space: values by swept key, as typed.
        objectives: names of the figures to optimize, the most important first.
        identity: what decides the sweep's jobs, as JSON; equal for the same command line.
    """

    name: str
    command: str
    space: Mapping[str, str]
    objectives: Sequence[str]
    identity: str

    @property
    def key(self) -> str:
        """16 hex digits that are equal for the same sweep."""
        return hashlib.sha256(self.identity.encode()).hexdigest()[:16]


def plan_of(config: DictConfig, first: Config, space: Mapping[str, str]) -> Plan:
    """Plan a sweep.

    Args:
        config: Hydra's config of the multirun.
        first: resolved config of the sweep's first job.
        space: values by swept key, as typed.
    """
    base = OmegaConf.to_container(config)
    if not isinstance(base, dict):
        raise TypeError("Hydra's config is not a mapping")
    return Plan(
        name=_name(first, space),
        command=f"python -m pipeline {shlex.join(sys.argv[1:])}",
        space=space,
        objectives=first.objective,
        identity=_identity(base, first, space),
    )


def _name(first: Config, space: Mapping[str, str]) -> str:
    swept = "×".join(key.removeprefix("trainer.") for key in sorted(space)) or "one job"
    model = "models" if "model" in space else Path(first.model.name_or_path).name
    dataset = "datasets" if "dataset" in space else first.dataset.name
    return f"sweep·{model}·{dataset}·{first.sweep.name or swept}"


def _identity(base: Mapping[Any, Any], first: Config, space: Mapping[str, str]) -> str:
    deciding = deciding_config(first)
    identity = {
        "config": {key: base[key] for key in base if key in deciding},
        "space": space,
        "objective": first.objective,
        "sweeper": base["hydra"]["sweeper"]["_target_"],
        "overrides": [
            line
            for line in base["hydra"]["overrides"]["task"]
            if not line.startswith(OVERRIDES_WITHOUT_EFFECT)
        ],
    }
    return json.dumps(identity, sort_keys=True, default=str)
