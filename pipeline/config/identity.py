"""What makes two runs the same experiment, and two runs' weights the same."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pipeline.config.schema import Config
from pipeline.redaction import redacted

if TYPE_CHECKING:
    from pipeline.data.corpus import Corpus

WITHOUT_EFFECT = (
    "disable_tqdm",
    "output_dir",
    "resume_from_checkpoint",
)  # keys of trainer that change no figure


def experiment_of(config: Config) -> dict[str, Any]:
    """Return the part of a config that decides a run's figures: not where it is stored, nor the sweep around it."""
    parts = asdict(config)
    return {
        name: parts[name]
        for name in parts
        if name not in ("tracking", "sweep", "objective", "rerun")
    }


def major_version() -> str:
    """Return the pipeline's major version: runs of another one are not the same experiment, whatever their config says."""
    return version("int8-text-classifiers").split(".")[0]


def config_hash(config: Config) -> str:
    """Return 16 hex digits that are equal for equal experiments, wherever they are stored and however they are shown."""
    parts = experiment_of(config)
    for name in WITHOUT_EFFECT:
        del parts["trainer"][name]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def weights_of(config: Config, corpus: "Corpus") -> dict[str, str]:
    """Return what decides a run's trained weights, by dotted key: a checkpoint of another one is no use."""
    groups = ("model", "dataset", "qat", "trainer", "loss", "distillation", "pruning")
    keys = {key: value for key, value in flat(config).items() if key.partition(".")[0] in groups}
    for name in (*WITHOUT_EFFECT, "save_strategy", "save_steps", "save_total_limit"):
        del keys[f"trainer.{name}"]
    return keys | {f"{split} (digest)": corpus.digest(split) for split in ("train", "validation")}


def flat(config: Config) -> dict[str, str]:
    """Flatten the config of the experiment to dotted keys."""

    def walk(node: Any, prefix: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from walk(value, f"{prefix}.{key}" if prefix else key)
        else:
            yield prefix, redacted(str(node))

    return dict(walk(experiment_of(config), ""))
