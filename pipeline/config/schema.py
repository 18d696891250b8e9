"""Dataclass schemas of every config group, registered with Hydra."""

from dataclasses import dataclass, field
from typing import Literal, Optional

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

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
        text_pair_column: name of the column with the second text of pairs (a question and its answer); null for single texts.
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
    text_pair_column: Optional[str] = None
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
        freeze_embeddings: leave the embedding tables as they are in this phase.
        freeze_observers_after: share of a quantizing phase's steps after which ranges of activations and weights stay as
            they are, above 0 and below 1; null lets them follow to the end.
    """

    quantize: bool = MISSING
    num_train_epochs: Optional[float] = None
    learning_rate: Optional[float] = None
    freeze_embeddings: bool = False
    freeze_observers_after: Optional[float] = None


@dataclass
class PostTrainingConfig:
    """Post-training quantization by optimum-intel's INCQuantizer, after the last training phase.

    Args:
        approach: dynamic (activations as they come) or static (activation ranges from training texts).
        calibration_samples: texts of train that static takes its ranges from.
        activation_algorithm: observer of static: minmax, or kl (a histogram cut where it loses least).
        tolerable_loss: accuracy-aware tuning: ops go back to FP32 until validation accuracy is at most this much below
            FP32's; null quantizes once, whatever it costs.
        criterion: whether tolerable_loss is in absolute accuracy or relative to FP32's.
        max_trials: configurations that tuning tries at most.
    """

    approach: Literal["dynamic", "static"] = MISSING
    calibration_samples: int = 300
    activation_algorithm: Literal["minmax", "kl"] = "minmax"
    tolerable_loss: Optional[float] = None
    criterion: Literal["absolute", "relative"] = "absolute"
    max_trials: int = 50


@dataclass
class QatConfig:
    """The recipe: which training phases follow each other, and what is quantized.

    Args:
        name: the recipe's name, shown in run names.
        phases: phases by name, in the order in which they run; only the last one may quantize.
        fp32_op_types: op types that stay in FP32, out of Embedding, LayerNorm, Linear.
        fp32_modules: modules that stay in FP32, by name or pattern, with all that is in them: bert.encoder.layer.0,
            *.output.dense.
        weight_granularity: one scale for each output channel of a Linear, or one for its whole weight.
        activation_scheme: asym (a zero point, ranges as they are) or sym (ranges around zero).
        post_training: quantization after training; null for recipes that quantize in training, or not at all.
    """

    name: str = MISSING
    phases: dict[str, PhaseConfig] = field(default_factory=dict)
    fp32_op_types: list[str] = field(default_factory=list)
    fp32_modules: list[str] = field(default_factory=list)
    weight_granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    activation_scheme: Literal["asym", "sym"] = "asym"
    post_training: Optional[PostTrainingConfig] = None

    @property
    def quantizes(self) -> bool:
        """Whether the recipe ends with an INT8 model."""
        return self.post_training is not None or any(
            phase.quantize for phase in self.phases.values()
        )


@dataclass
class TrainerConfig:
    """transformers.TrainingArguments by their own names; their documentation applies.

    Args:
        early_stopping_patience, early_stopping_threshold: EarlyStoppingCallback's; null never stops early.
        output_dir: where checkpoints are kept, a folder for each phase; null keeps them as long as the run lasts.
        resume_from_checkpoint: output_dir of an earlier start of the same experiment, to go on from its newest checkpoint, or
            one of the checkpoint-N in it.
    """

    num_train_epochs: float = 2.0
    max_steps: int = -1
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 64
    gradient_accumulation_steps: int = 1
    learning_rate: float = 3e-4
    lr_scheduler_type: Literal[
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
    ] = "linear"
    warmup_ratio: float = 0.0
    warmup_steps: int = 0
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    label_smoothing_factor: float = 0.0
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "rmsprop"] = (
        "adamw_torch_fused"
    )
    group_by_length: bool = False
    eval_strategy: Literal["no", "steps", "epoch"] = "epoch"
    eval_steps: Optional[int] = None
    logging_steps: int = 10
    dataloader_num_workers: int = 0
    save_strategy: Literal["no", "steps", "epoch"] = "no"
    save_steps: int = 500
    save_total_limit: Optional[int] = None
    load_best_model_at_end: bool = False
    metric_for_best_model: Literal["accuracy", "f1_macro", "loss"] = "accuracy"
    early_stopping_patience: Optional[int] = None
    early_stopping_threshold: float = 0.0
    output_dir: Optional[str] = None
    resume_from_checkpoint: Optional[str] = None
    disable_tqdm: Optional[bool] = None
    seed: int = 42
    data_seed: Optional[int] = None


@dataclass
class LossConfig:
    """What training minimizes; validation and test losses are plain cross-entropy, whatever stands here.

    Args:
        class_weights: balanced weighs a class by the inverse of its frequency in train.
        focal_gamma: focal loss: a text whose class has probability p counts (1 - p)^gamma; 0 is cross-entropy.
            (Lin et al., arXiv:1708.02002.)
    """

    class_weights: Literal["none", "balanced"] = "none"
    focal_gamma: float = 0.0


@dataclass
class DistillationConfig:
    """A larger model that teaches the one that is trained, in every phase.

    Args:
        teacher: a run id, a directory or a Hub id; an encoder without a head for this corpus is fine-tuned first.
        num_hidden_layers: keep the first n layers of a teacher that is fine-tuned first; null keeps all.
        num_train_epochs, learning_rate: of that fine-tuning; null takes the trainer group's.
        temperature: that both models' logits are divided by.
        loss_weights: of the labels' loss and of the teacher's, together 1.
    """

    teacher: str = MISSING
    num_hidden_layers: Optional[int] = None
    num_train_epochs: Optional[float] = None
    learning_rate: Optional[float] = None
    temperature: float = 2.0
    loss_weights: list[float] = field(default_factory=lambda: [0.5, 0.5])


@dataclass
class PruningConfig:
    """Neural Compressor's WeightPruningConfig by its own names, for Linear weights but the classifier's.

    The first phase prunes; later ones keep what is zero.

    Args:
        pruning_type: magnitude (the smallest weights go) or snip_momentum (those whose loss the network would feel least).
        pattern: what goes together: 1x1, 4x1 (four weights of a column), channelx1, or 2:4 (two of four).
        target_sparsity: share of zeros at the end, above 0 and below 1.
        pruning_scope: rank weights over all layers, or within each.
        start_step, end_step: training steps between which sparsity grows; end_step null is half of the phase.
        pruning_frequency: steps between two prunings; null makes about twenty of them.
    """

    pruning_type: Literal["magnitude", "snip_momentum"] = MISSING
    pattern: str = "4x1"
    target_sparsity: float = 0.5
    pruning_scope: Literal["global", "local"] = "global"
    start_step: int = 0
    end_step: Optional[int] = None
    pruning_frequency: Optional[int] = None


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
        max_accuracy_loss: how much lower than the torch model's the test accuracy of an export may be; more, if chance does
            not explain it, fails the run.
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
class SweepConfig:
    """What the jobs of a multirun (-m) have in common; a run on its own heeds none of it.

    Args:
        name: of a named search space (conf/sweep/), shown in the parent run's name.
        fresh: start anew, although the same command line has begun or finished this sweep before.
        allow_failures: end with exit code 0 although jobs failed.
        pruner: median stops a job whose validation accuracy is below the median of the sweep's finished runs at the same step.
        pruner_startup_trials: runs that have to be finished before the pruner stops one.
        pruner_warmup_steps: training steps before which no job is stopped.
        parent_run_id, directory, swept: set by the sweep for its jobs: its run in MLflow, the folder that relative paths start
            from, and the keys that differ between jobs.
    """

    name: Optional[str] = None
    fresh: bool = False
    allow_failures: bool = False
    pruner: Optional[Literal["median"]] = None
    pruner_startup_trials: int = 4
    pruner_warmup_steps: int = 0
    parent_run_id: Optional[str] = None
    directory: Optional[str] = None
    swept: list[str] = field(default_factory=list)


@dataclass
class Config:
    """One run: what `python -m pipeline` composes.

    Args:
        objective: figures by their names in MLflow that a sweep is about, the most important first.
        rerun: id of a finished run to repeat from its logged config.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    qat: QatConfig = field(default_factory=QatConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distillation: Optional[DistillationConfig] = None
    pruning: Optional[PruningConfig] = None
    export: ExportConfig = field(default_factory=ExportConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    objective: list[str] = field(default_factory=lambda: ["accuracy"])
    rerun: Optional[str] = None


def register() -> None:
    """Make the schema known to Hydra as `schema`, which conf/config.yaml names first in its defaults."""
    ConfigStore.instance().store(name="schema", node=Config, replace=True)
