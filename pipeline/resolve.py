"""Hydra's composed config to the dataclasses, with the checks that no single field can make."""

from dataclasses import asdict, fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf

from pipeline.config import FASTEST, FP32_FORMATS, INT8_FORMATS, QUANTIZABLE_OP_TYPES, Config, QatConfig, looks_local
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
            if is_dataclass(value):
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
            and all(part in (typed, "<name>") for part, typed in zip(known.split("."), parents, strict=False))
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
        raise TypeError(f"resolve() takes a config composed over the schema, not {type(resolved).__name__}")
    for key in _undeclared(OmegaConf.to_container(config, resolve=True), asdict(resolved)):
        raise PipelineError(unknown_key(key))
    _check_numbers(resolved)
    _check_recipe(resolved.qat)
    _check_export(resolved)
    _check_paths(resolved)
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


def _check_numbers(config: Config) -> None:
    trainer, dataset = config.trainer, config.dataset
    positive = {
        "trainer.learning_rate": trainer.learning_rate,
        "trainer.per_device_train_batch_size": trainer.per_device_train_batch_size,
        "trainer.per_device_eval_batch_size": trainer.per_device_eval_batch_size,
        "trainer.gradient_accumulation_steps": trainer.gradient_accumulation_steps,
        "trainer.logging_steps": trainer.logging_steps,
        "model.num_hidden_layers": config.model.num_hidden_layers,
        "dataset.max_train_samples": dataset.max_train_samples,
        "dataset.max_eval_samples": dataset.max_eval_samples,
        "export.calibration_samples": config.export.calibration_samples,
        "benchmark.seconds": config.benchmark.seconds,
        "benchmark.threads": config.benchmark.threads,
    }
    if trainer.max_steps <= 0:
        positive["trainer.num_train_epochs"] = trainer.num_train_epochs
    for name, phase in config.qat.phases.items():
        positive[f"qat.phases.{name}.learning_rate"] = phase.learning_rate
        positive[f"qat.phases.{name}.num_train_epochs"] = phase.num_train_epochs
    for key, value in positive.items():
        if value is not None and not value > 0:
            raise PipelineError(f"{key}={value} must be above 0.")
    if dataset.max_length < 3:
        raise PipelineError(f"dataset.max_length={dataset.max_length} leaves no room for text; it must be at least 3.")
    for key, share in (("dataset.validation_size", dataset.validation_size), ("dataset.test_size", dataset.test_size)):
        if not 0 < share < 1:
            raise PipelineError(f"{key}={share} must lie between 0 and 1.")
    if trainer.eval_strategy == "steps" and not trainer.eval_steps:
        raise PipelineError("trainer.eval_strategy=steps needs trainer.eval_steps=N.")


def _check_recipe(qat: QatConfig) -> None:
    if not qat.phases:
        raise PipelineError("qat.phases is empty; a recipe needs at least one training phase.")
    early = [name for name, phase in list(qat.phases.items())[:-1] if phase.quantize]
    if early:
        raise PipelineError(f"qat.phases.{early[0]}.quantize=true is only possible in the last phase: it converts to INT8.")
    for op_type in qat.fp32_op_types:
        if op_type not in QUANTIZABLE_OP_TYPES:
            raise PipelineError(f"qat.fp32_op_types: {op_type} is unknown; {nearest(op_type, QUANTIZABLE_OP_TYPES)}")


def _check_export(config: Config) -> None:
    export = config.export
    known = (*FP32_FORMATS, *INT8_FORMATS)
    for name in export.formats:
        if name not in known:
            raise PipelineError(f"export.formats: {name} is unknown; {nearest(name, known)}")
    if len(set(export.formats)) != len(export.formats):
        raise PipelineError(f"export.formats={export.formats} names a format twice.")
    int8 = [name for name in export.formats if name in INT8_FORMATS]
    if "Linear" in config.qat.fp32_op_types and int8:
        raise PipelineError(
            f"qat.fp32_op_types has Linear, so that {int8[0]} would have nothing to quantize; choose export=none."
        )
    if "openvino_int8" in int8 and not (find_spec("openvino") and find_spec("nncf")):
        raise PipelineError(
            "export.formats: openvino_int8 needs OpenVINO and NNCF: pip install -e '.[openvino]', or choose export=onnx."
        )
    if config.benchmark.repetitions < 0:
        raise PipelineError(f"benchmark.repetitions={config.benchmark.repetitions} must not be negative.")
    if export.ship != FASTEST and export.ship not in export.formats:
        raise PipelineError(f"export.ship={export.ship} is not made; {nearest(export.ship, [FASTEST, *export.formats])}")


def _check_paths(config: Config) -> None:
    dataset = config.dataset
    for key in ("data_dir", "train_file", "validation_file", "test_file"):
        value = getattr(dataset, key)
        if value is not None and "://" not in value and not Path(value).exists():
            raise PipelineError(f"dataset.{key}={value} does not exist{_how_to_fetch(value)}.")
    if dataset.data_dir and not Path(dataset.data_dir).is_dir():
        raise PipelineError(f"dataset.data_dir={dataset.data_dir} is not a directory; for one file use dataset.train_file.")
    if dataset.train_file is None and (dataset.validation_file or dataset.test_file):
        raise PipelineError("dataset.train_file has no value; it goes with dataset.validation_file and dataset.test_file.")
    if not (dataset.path or dataset.data_dir or dataset.train_file):
        raise PipelineError("dataset.train_file has no value; give dataset.train_file=FILE or dataset.data_dir=DIR.")
    if looks_local(config.model.name_or_path) and not Path(config.model.name_or_path).is_dir():
        path = config.model.name_or_path
        raise PipelineError(f"model.name_or_path={path} is not a directory{_how_to_fetch(path)}.")


def _how_to_fetch(path: str) -> str:
    return "; make assets fetches it" if path.startswith("assets/") else ""
