"""Dataclass schemas of every config group, registered with Hydra, and the checks that span fields."""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Optional, get_args, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from pipeline.errors import PipelineError, nearest

FP32_FORMATS = ("onnx_fp32",)
INT8_FORMATS = ("onnx_int8", "openvino_int8")
FASTEST = "fastest"
QUANTIZABLE_OP_TYPES = ("Embedding", "LayerNorm", "Linear")

# OmegaConf 2.4 reads Optional[X], not X | None, of a dataclass field that is itself a generic; one spelling is used for all.
# ruff: noqa: UP045


@dataclass
class ModelConfig:
    """Which pretrained encoder is fine-tuned.

    Args:
        name_or_path: a model id on the Hugging Face Hub or a local directory.
        revision: branch, tag or commit on the Hub.
        num_hidden_layers: keep the first n layers of the checkpoint; null keeps all.
        classification_token_only: while training, compute the last layer for the classification token alone.
            Gradients are the same (the other tokens' outputs are never read) and a step is shorter.
    """

    name_or_path: str = MISSING
    revision: Optional[str] = None
    num_hidden_layers: Optional[int] = None
    classification_token_only: bool = True


@dataclass
class DatasetConfig:
    """Which labelled texts are learned, and how they are cut.

    Args:
        name: short name, shown in run names.
        path: dataset id on the Hugging Face Hub; unused when data_dir or train_file is given.
        config_name: the Hub dataset's configuration.
        revision: branch, tag or commit on the Hub.
        train_split, validation_split, test_split: the Hub's names of the splits; null splits off from train.
        data_dir: a directory with train, validation and test as .csv, .tsv, .jsonl, .json or .parquet.
        train_file, validation_file, test_file: a file or URL each; validation and test may be null.
        text_column, label_column: names of the columns.
        label_names: the classes in the order of their ids; null takes them from train.
        validation_size, test_size: share of train that is split off (stratified) when the split is not given.
        split_seed: seed of that split.
        on_bad_rows: what to do with rows whose text or label is empty or not text.
        max_length: tokens a text is cut at.
        padding: pad a batch to its longest text, or every text to max_length.
        max_train_samples, max_eval_samples: use only the first n rows (after a seeded shuffle); null uses all.
    """

    name: str = MISSING
    path: Optional[str] = None
    config_name: Optional[str] = None
    revision: Optional[str] = None
    train_split: str = "train"
    validation_split: Optional[str] = "validation"
    test_split: Optional[str] = "test"
    data_dir: Optional[str] = None
    train_file: Optional[str] = None
    validation_file: Optional[str] = None
    test_file: Optional[str] = None
    text_column: str = "text"
    label_column: str = "label"
    label_names: Optional[list[str]] = None
    validation_size: float = 0.1
    test_size: float = 0.1
    split_seed: int = 0
    on_bad_rows: Literal["error", "drop"] = "error"
    max_length: int = 128
    padding: Literal["longest", "max_length"] = "longest"
    max_train_samples: Optional[int] = None
    max_eval_samples: Optional[int] = None


@dataclass
class PhaseConfig:
    """One call of INCTrainer.train().

    Args:
        quantize: insert fake-quantization and convert to INT8 at the end.
        num_train_epochs: length of this phase; null takes trainer.num_train_epochs.
        learning_rate: peak of this phase; null takes trainer.learning_rate.
    """

    quantize: bool = MISSING
    num_train_epochs: Optional[float] = None
    learning_rate: Optional[float] = None


@dataclass
class QatConfig:
    """The recipe: which training phases follow each other, and what is quantized.

    Args:
        name: the recipe's name, shown in run names.
        phases: phases by name, in the order in which they run; only the last one may quantize.
        fp32_op_types: op types that stay in FP32, out of Embedding, LayerNorm, Linear.
    """

    name: str = MISSING
    phases: dict[str, PhaseConfig] = field(default_factory=dict)
    fp32_op_types: list[str] = field(default_factory=list)


@dataclass
class TrainerConfig:
    """transformers.TrainingArguments by their own names; their documentation applies."""

    num_train_epochs: float = 2.0
    max_steps: int = -1
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 64
    gradient_accumulation_steps: int = 1
    learning_rate: float = 3e-4
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = "linear"
    warmup_ratio: float = 0.0
    warmup_steps: int = 0
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    label_smoothing_factor: float = 0.0
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "rmsprop"] = "adamw_torch_fused"
    group_by_length: bool = False
    eval_strategy: Literal["no", "steps", "epoch"] = "epoch"
    eval_steps: Optional[int] = None
    logging_steps: int = 10
    dataloader_num_workers: int = 0
    disable_tqdm: Optional[bool] = None
    seed: int = 42
    data_seed: Optional[int] = None


@dataclass
class ExportConfig:
    """Which deployable directories a run makes of its model.

    Args:
        formats: out of onnx_fp32, onnx_int8 and openvino_int8; a recipe that does not quantize makes the first alone.
        ship: the format that becomes the MLflow model and gives the run its figures; fastest takes the INT8 format with the
            lowest p50 latency at batch 1; without a benchmark, the first.
        calibration_samples: training texts that the activation ranges of openvino_int8 are taken from.
        vocabulary: full, or corpus: the INT8 formats know the training texts' tokens and single characters only. The file is
            smaller; a word that training did not show is spelt in smaller pieces.
        max_accuracy_loss: how much lower than the torch model's the test accuracy of an export may be; more fails the run.
    """

    formats: list[str] = field(default_factory=list)
    ship: str = FASTEST
    calibration_samples: int = 300
    vocabulary: Literal["full", "corpus"] = "full"
    max_accuracy_loss: float = 0.005


@dataclass
class BenchmarkConfig:
    """How a run times its artifacts: one process each, taking turns.

    Args:
        repetitions: turns of each artifact at each shape; 0 times nothing.
        seconds: of a turn, at least.
        threads: of each process.
    """

    repetitions: int = 3
    seconds: float = 0.3
    threads: int = 1


@dataclass
class TrackingConfig:
    """Where MLflow stores the run.

    Args:
        tracking_uri: a database (sqlite:///...) or server (http://...).
        experiment_name: MLflow experiment.
        artifact_location: folder of the artifacts, set when the experiment is created; null lets the server decide.
    """

    tracking_uri: str = MISSING
    experiment_name: str = "int8-text-classifiers"
    artifact_location: Optional[str] = None


@dataclass
class Config:
    """One run: what `python -m pipeline` composes."""

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    qat: QatConfig = field(default_factory=QatConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def register() -> None:
    """Make the schema known to Hydra as `schema`, which conf/config.yaml names first in its defaults."""
    ConfigStore.instance().store(name="schema", node=Config, replace=True)


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


def looks_local(name_or_path: str) -> bool:
    """Tell a path from a Hub id: ids are `name` or `owner/name`, and an existing directory is always a path."""
    return Path(name_or_path).exists() or name_or_path.startswith((".", "/", "~", "assets/")) or name_or_path.count("/") > 1
