"""Declare every config group as a dataclass, and register them with Hydra."""

from dataclasses import dataclass, field
from typing import Literal, Optional

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from pipeline.config.ranges import RANGE, Range, number, share
from pipeline.names import DEFAULT_OBJECTIVE

FASTEST = "fastest"
KEEP_ALL, KEEP_SHIPPED, KEEP_NONE = "all", "shipped", "none"
BENCHMARK_LENGTHS = (16, 32, 128)  # tokens, up to dataset.max_length; beside the corpus's own
QUANTIZABLE_OP_TYPES = ("Embedding", "LayerNorm", "Linear")
SHORTEST_TEXT = 3  # tokens: one of the text, between the two that mark its start and end
LARGEST_SEED = 2**32 - 1  # of NumPy's generator

# OmegaConf 2.4 reads Optional[X] but not X | None where X is itself a generic; one spelling is
# used for all fields.
# ruff: noqa: UP045


@dataclass
class ModelConfig:
    """Choose the pretrained encoder that is fine-tuned.

    Args:
        name_or_path: model id on the Hugging Face Hub, or a local directory.
        revision: branch, tag or commit on the Hub.
        num_hidden_layers: number of the checkpoint's layers to keep; null keeps all. Of equal parts
            of the checkpoint, each gives its middle layer: 2 of 6 are layers 1 and 4.
        layers: the layers to keep, by their numbers from 0 in ascending order; null takes
            num_hidden_layers of them. Given, they count and num_hidden_layers does not.
        head_learning_rate_factor: factor of the learning rate for what the checkpoint lacks, in the
            first phase: the classifier, and the pooler if it has none that was trained.
        embeddings_learning_rate_factor: factor of the learning rate for the embeddings; from there
            to the last layer, where it is 1, each layer's is the same number of times larger.
        classification_token_only: whether training computes the last layer for the classification
            token alone. Gradients are the same (the other tokens' outputs are never read) and a
            step is shorter.
    """

    name_or_path: str = MISSING
    revision: Optional[str] = None
    num_hidden_layers: Optional[int] = number(None, at_least=1)
    layers: Optional[list[int]] = field(default=None, metadata={RANGE: Range(at_least=0)})
    head_learning_rate_factor: float = number(10.0, above=0)
    embeddings_learning_rate_factor: float = number(0.4, above=0)
    classification_token_only: bool = True

    @property
    def depth(self) -> int | None:
        """Number of layers that are kept; None keeps all."""
        return self.num_hidden_layers if self.layers is None else len(self.layers)


@dataclass
class DatasetConfig:
    """Choose the labelled texts, and say how they are read, split and cut.

    Args:
        name: short name, shown in the names of runs.
        path: dataset id on the Hugging Face Hub; unused when data_dir or train_file is given.
        config_name: configuration of the Hub dataset.
        revision: branch, tag or commit on the Hub.
        train_split: name of the training split on the Hub.
        validation_split: name of the validation split on the Hub; null takes it from train.
        test_split: name of the test split on the Hub; null takes it from train.
        data_dir: directory with train, validation and test as .csv, .tsv, .jsonl, .json or
            .parquet, each also compressed or in numbered parts.
        train_file: file or URL of the training texts, or a pattern such as DIR/part-*.csv.
        validation_file: that of the validation texts; null takes them from train.
        test_file: that of the test texts; null takes them from train.
        unlabelled_file: that of further texts, whose labels a teacher says (distillation); null
            has none.
        encoding: encoding of text files, as Python names it; null takes that of a file's byte
            order mark, else UTF-8.
        text_column: name of the column with the texts.
        text_pair_column: name of the column with the second text of pairs (a question and its
            answer); null for single texts.
        label_column: name of the column with the labels.
        label_names: classes in the order of their ids; null takes them from train.
        validation_size: share of train (of what test leaves of it) that becomes validation when
            there is none, stratified by label, with all rows of a text in one part.
        test_size: share of train that becomes test when there is none, stratified by label.
        split_seed: seed of those splits, and of the choice of rows under max_train_samples and
            max_eval_samples.
        on_bad_rows: whether rows whose text or label is empty or not text end the run (error) or
            are left out (drop).
        max_length: number of tokens that a text is cut at.
        padding: whether a batch is padded to its longest text (longest) or to max_length.
        max_train_samples: number of training rows to use, chosen by split_seed; null uses all.
        max_eval_samples: number of validation and of test rows to use, chosen by split_seed; null
            uses all.
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
    unlabelled_file: Optional[str] = None
    encoding: Optional[str] = None
    text_column: str = "text"
    text_pair_column: Optional[str] = None
    label_column: str = "label"
    label_names: Optional[list[str]] = None
    validation_size: float = share(0.1)
    test_size: float = share(0.1)
    split_seed: int = number(0, at_least=0, at_most=LARGEST_SEED)
    on_bad_rows: Literal["error", "drop"] = "error"
    max_length: int = number(128, at_least=SHORTEST_TEXT)
    padding: Literal["longest", "max_length"] = "longest"
    max_train_samples: Optional[int] = number(None, at_least=1)
    max_eval_samples: Optional[int] = number(None, at_least=1)


@dataclass
class PhaseConfig:
    """Describe one training phase, which is one call of INCTrainer.train().

    Args:
        quantize: whether the phase inserts fake-quantization and converts the model to INT8 at its
            end.
        num_train_epochs: length of the phase in epochs; null takes num_train_epochs_factor times
            that of the trainer group.
        learning_rate: peak learning rate of the phase; null takes learning_rate_factor times that
            of the trainer group.
        num_train_epochs_factor: length of the phase, where trainer.num_train_epochs (or
            trainer.max_steps, then rounded up) is 1.
        learning_rate_factor: peak learning rate of the phase, where trainer.learning_rate is 1.
        freeze_embeddings: whether the phase leaves the embedding tables as they are.
        freeze_observers_after: share of a quantizing phase's steps, above 0 and below 1, after
            which the ranges of activations and of Linear weights stay as they are; null lets them
            follow to the end.
    """

    quantize: bool = MISSING
    num_train_epochs: Optional[float] = number(None, above=0)
    learning_rate: Optional[float] = number(None, above=0)
    num_train_epochs_factor: float = number(1.0, above=0)
    learning_rate_factor: float = number(1.0, above=0)
    freeze_embeddings: bool = False
    freeze_observers_after: Optional[float] = share()


@dataclass
class PostTrainingConfig:
    """Quantize with optimum-intel's INCQuantizer after the last training phase.

    Args:
        approach: dynamic measures the ranges of activations as they come, static takes them from
            training texts beforehand.
        calibration_samples: number of training texts that static takes its ranges from, all of
            them if there are fewer.
        activation_algorithm: observer of static: minmax, or kl (a histogram that is cut where it
            loses least).
        tolerable_loss: how far validation accuracy may fall below FP32's: ops go back to FP32 until
            it is within that distance. null quantizes once, whatever the accuracy.
        criterion: whether tolerable_loss is an absolute accuracy or relative to FP32's.
        max_trials: number of configurations that the search for tolerable_loss tries at most.
    """

    approach: Literal["dynamic", "static"] = MISSING
    calibration_samples: int = number(300, at_least=1)
    activation_algorithm: Literal["minmax", "kl"] = "minmax"
    tolerable_loss: Optional[float] = share()
    criterion: Literal["absolute", "relative"] = "absolute"
    max_trials: int = number(50, at_least=1)


@dataclass
class QatConfig:
    """Describe the recipe: which training phases follow each other, and what is quantized.

    Args:
        name: name of the recipe, shown in the names of runs.
        phases: phases by name, in the order in which they run; only the last one may quantize.
        fp32_op_types: op types that stay in FP32, out of Embedding, LayerNorm and Linear.
        fp32_modules: modules that stay in FP32 with all that is in them, by name or pattern:
            bert.encoder.layer.0, *.output.dense.
        weight_granularity: whether a Linear has one scale for each output channel (per_channel) or
            one for its whole weight (per_tensor).
        activation_scheme: asym (ranges as they are, with a zero point) or sym (ranges around zero).
        fake_quantize_outputs: whether training also rounds what a Linear gives out, as PyTorch's
            INT8 modules do; ONNX Runtime and OpenVINO round what a Linear takes, and its weight.
        post_training: quantization after training; null for recipes that quantize in training, or
            not at all.
    """

    name: str = MISSING
    phases: dict[str, PhaseConfig] = field(default_factory=dict)
    fp32_op_types: list[str] = field(default_factory=list)
    fp32_modules: list[str] = field(default_factory=list)
    weight_granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    activation_scheme: Literal["asym", "sym"] = "asym"
    fake_quantize_outputs: bool = True
    post_training: Optional[PostTrainingConfig] = None

    @property
    def quantizes(self) -> bool:
        """Whether the recipe ends with an INT8 model."""
        return self.post_training is not None or any(
            phase.quantize for phase in self.phases.values()
        )


@dataclass
class TrainerConfig:
    """Set transformers.TrainingArguments by their own names; their documentation applies.

    Args:
        num_train_epochs: length of a phase in epochs; null follows the corpus.
        max_steps: length of a phase in optimizer steps, instead of epochs, and of a teacher that
            is fine-tuned; -1 counts epochs.
        learning_rate: peak learning rate of a phase; null follows the encoder.
        bf16: compute the forward pass of training in bfloat16; null does in phases that do not
            quantize, on a CPU that has AMX or AVX512_BF16.
        early_stopping_patience: number of evaluations without improvement after which a phase ends
            (EarlyStoppingCallback); null never ends one early.
        early_stopping_threshold: how much the metric has to improve to count.
        output_dir: folder that keeps the checkpoints, in a folder for each phase; a job of a sweep
            has a folder of its own in it, and goes on from what it finds there. null keeps them as
            long as the run lasts.
        resume_from_checkpoint: output_dir of an earlier start of the same run, to go on from its
            newest checkpoint, or one of the checkpoint-N folders in it.
    """

    num_train_epochs: Optional[float] = number(None, above=0)
    max_steps: int = number(-1, at_least=1, also=-1)
    per_device_train_batch_size: int = number(32, at_least=1)
    per_device_eval_batch_size: int = number(64, at_least=1)
    gradient_accumulation_steps: int = number(1, at_least=1)
    learning_rate: Optional[float] = number(None, above=0)
    lr_scheduler_type: Literal[
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
    ] = "linear"
    warmup_ratio: float = number(0.0, at_least=0, at_most=1)
    warmup_steps: int = number(0, at_least=0)
    weight_decay: float = number(0.0, at_least=0)
    adam_beta1: float = number(0.9, at_least=0, below=1)
    adam_beta2: float = number(0.999, at_least=0, below=1)
    adam_epsilon: float = number(1e-8, at_least=0)
    max_grad_norm: float = number(1.0, at_least=0)
    label_smoothing_factor: float = number(0.0, at_least=0, below=1)
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "rmsprop"] = (
        "adamw_torch_fused"
    )
    bf16: Optional[bool] = None
    group_by_length: bool = False
    eval_strategy: Literal["no", "steps", "epoch"] = "epoch"
    eval_steps: Optional[int] = number(None, at_least=1)
    logging_steps: int = number(10, at_least=1)
    dataloader_num_workers: int = number(0, at_least=0)
    save_strategy: Literal["no", "steps", "epoch"] = "no"
    save_steps: int = number(500, at_least=1)
    save_total_limit: Optional[int] = number(None, at_least=1)
    load_best_model_at_end: bool = False
    metric_for_best_model: Literal["accuracy", "f1_macro", "loss"] = "accuracy"
    early_stopping_patience: Optional[int] = number(None, at_least=1)
    early_stopping_threshold: float = number(0.0, at_least=0)
    output_dir: Optional[str] = None
    resume_from_checkpoint: Optional[str] = None
    disable_tqdm: Optional[bool] = None
    seed: int = number(42, at_least=0, at_most=LARGEST_SEED)
    data_seed: Optional[int] = number(None, at_least=0, at_most=LARGEST_SEED)


@dataclass
class LossConfig:
    """Choose what training minimizes; validation and test losses are always plain cross-entropy.

    Args:
        class_weights: balanced weighs a class by the inverse of its frequency in train.
        focal_gamma: exponent of the focal loss (Lin et al., arXiv:1708.02002): a text whose class
            has probability p counts (1 - p)^gamma; 0 is cross-entropy.
    """

    class_weights: Literal["none", "balanced"] = "none"
    focal_gamma: float = number(0.0, at_least=0)


@dataclass
class DistillationConfig:
    """Choose a larger model that teaches the trained one in every phase.

    Args:
        teacher: run id, directory or Hub id; an encoder without a head for this corpus is
            fine-tuned first.
        num_hidden_layers: number of layers to keep of a teacher that is fine-tuned first; null
            keeps all.
        num_train_epochs: epochs of that fine-tuning; null takes trainer.num_train_epochs, or
            trainer.max_steps.
        learning_rate: learning rate of that fine-tuning; null takes trainer.learning_rate.
        student_from_teacher: whether the trained model starts from layers of the teacher (those
            that the model group keeps), instead of from model.name_or_path.
        temperature: number that both models' logits are divided by.
        loss_weights: shares of the labels' loss and of the teacher's; their sum is 1.
        hidden_states_weight: weight of the mean squared distance between both models' last hidden
            states of the classification token, each normalized to mean 0 and variance 1; it is
            added to the loss.
        transfer_texts: number of texts that the teacher labels beside those of train: halves of two
            of them, put together, drawn by dataset.split_seed.
    """

    teacher: str = MISSING
    num_hidden_layers: Optional[int] = number(None, at_least=1)
    num_train_epochs: Optional[float] = number(None, above=0)
    learning_rate: Optional[float] = number(None, above=0)
    student_from_teacher: bool = False
    temperature: float = number(2.0, above=0)
    loss_weights: list[float] = field(
        default_factory=lambda: [0.5, 0.5], metadata={RANGE: Range(at_least=0, at_most=1)}
    )
    hidden_states_weight: float = number(0.0, at_least=0)
    transfer_texts: int = number(0, at_least=0)


@dataclass
class PruningConfig:
    """Set Neural Compressor's WeightPruningConfig by its own names.

    It prunes Linear weights, except the classifier's. The first phase prunes; later ones keep what
    is zero.

    Args:
        pruning_type: magnitude (the smallest weights become zero) or snip_momentum (those whose
            absence would change the loss least).
        pattern: weights that become zero together: 1x1, 4x1 (four weights of a column), channelx1,
            or 2:4 (two of four).
        target_sparsity: share of zeros at the end, above 0 and below 1.
        pruning_scope: whether weights are ranked over all layers (global) or within each (local).
        start_step: training step at which sparsity begins to grow.
        end_step: training step at which sparsity reaches its target, below the number of steps of
            the first phase; null is half of the phase.
        pruning_frequency: number of steps between two prunings; null makes about twenty of them.
    """

    pruning_type: Literal["magnitude", "snip_momentum"] = MISSING
    pattern: str = "4x1"
    target_sparsity: float = share(0.5)
    pruning_scope: Literal["global", "local"] = "global"
    start_step: int = number(0, at_least=0)
    end_step: Optional[int] = number(None, at_least=1)
    pruning_frequency: Optional[int] = number(None, at_least=1)


@dataclass
class BaselineConfig:
    """Set the linear model that stands beside every run: TF-IDF under logistic regression.

    It is scikit-learn's; min_df is TfidfVectorizer's, C and max_iter are LogisticRegression's.

    Args:
        word_ngram_range: smallest and largest number of words in a feature.
        char_ngram_range: smallest and largest number of characters in a feature, within words.
        min_df: number of training texts that a feature has to be in.
        C: inverse of the strength of regularization.
        max_iter: number of iterations after which the solver stops, converged or not.
        max_train_samples: number of training texts to use, chosen by dataset.split_seed; null uses
            all.
    """

    word_ngram_range: list[int] = field(
        default_factory=lambda: [1, 2], metadata={RANGE: Range(at_least=1)}
    )
    char_ngram_range: list[int] = field(
        default_factory=lambda: [2, 4], metadata={RANGE: Range(at_least=1)}
    )
    min_df: int = number(1, at_least=1)
    C: float = number(10.0, above=0)
    max_iter: int = number(1000, at_least=1)
    max_train_samples: Optional[int] = number(100_000, at_least=1)


@dataclass
class ExportConfig:
    """Choose the deployable directories that a run makes of its model.

    Args:
        formats: formats to make, out of onnx_fp32, onnx_int8 and openvino_int8; a recipe that does
            not quantize makes onnx_fp32 alone.
        ship: format that becomes the MLflow model and gives the run its figures; fastest takes the
            INT8 format with the lowest p50 latency at batch 1, or the first without a benchmark.
        calibration_samples: number of training texts that the activation ranges of both INT8
            formats are taken from.
        max_accuracy_loss: how much lower the validation accuracy of an export may be than the
            PyTorch model's; a larger loss that chance does not explain fails the run.
    """

    formats: list[str] = field(default_factory=list)
    ship: str = FASTEST
    calibration_samples: int = number(300, at_least=1)
    max_accuracy_loss: float = number(0.005, at_least=0, at_most=1)


@dataclass
class BenchmarkConfig:
    """Say how a run times its artifacts: each in a process of its own, taking turns.

    Args:
        repetitions: number of turns of each artifact at each shape; 0 times nothing.
        seconds: shortest duration of a turn, in seconds.
        threads: number of threads of each process.
    """

    repetitions: int = number(3, at_least=0)
    seconds: float = number(0.3, above=0)
    threads: int = number(1, at_least=1, at_most=1024)


@dataclass
class TrackingConfig:
    """Choose where MLflow stores the run.

    Args:
        tracking_uri: address of a database (sqlite:///...) or server (http://...).
        experiment_name: name of the MLflow experiment.
        artifact_location: folder of the artifacts, set when the experiment is created; null lets
            the server decide.
        keep: which models the jobs of a sweep keep, the best of them excepted, which keeps all:
            all of them, the shipped one, or none. A run by itself keeps all.
    """

    tracking_uri: str = MISSING
    experiment_name: str = "int8-text-classifiers"
    artifact_location: Optional[str] = None
    keep: Literal["all", "shipped", "none"] = "shipped"


@dataclass
class SweepConfig:
    """Set what the jobs of a multirun (-m) have in common; a single run ignores all of it.

    Args:
        name: name of a search space in conf/sweep/, shown in the name of the sweep's run.
        fresh: whether to start anew although the same command line has begun or finished this sweep
            before.
        allow_failures: whether the exit code is 0 although jobs failed.
        pruner: median stops a job whose validation accuracy is below the median of the sweep's
            finished runs at the same step; successive_halving (ASHA) lets one job in
            pruner_reduction_factor go on at each rung.
        pruner_startup_trials: number of runs that have to be finished, or to have come as far,
            before the pruner stops one.
        pruner_warmup_steps: number of training steps before which no job is stopped; with
            successive_halving, those of the first rung, 0 being a job's first evaluation.
        pruner_reduction_factor: how many times longer each next rung is, and one in how many jobs
            goes on there.
        parent_run_id: id of the sweep's run in MLflow; the sweep sets it for its jobs.
        directory: folder that relative paths start from; the sweep sets it for its jobs.
        swept: keys that differ between jobs; the sweep sets them for its jobs.
    """

    name: Optional[str] = None
    fresh: bool = False
    allow_failures: bool = False
    pruner: Optional[Literal["median", "successive_halving"]] = None
    pruner_startup_trials: int = number(4, at_least=0)
    pruner_warmup_steps: int = number(0, at_least=0)
    pruner_reduction_factor: int = number(4, at_least=2)
    parent_run_id: Optional[str] = None
    directory: Optional[str] = None
    swept: list[str] = field(default_factory=list)


@dataclass
class Config:
    """Describe one run: what `python -m pipeline` composes.

    Args:
        model: the pretrained encoder.
        dataset: the labelled texts.
        qat: the recipe.
        trainer: arguments of the training phases.
        loss: what training minimizes.
        distillation: the teacher; null trains without one.
        pruning: how weights are pruned; null prunes none.
        baseline: the linear model that the run is compared with; null compares with none.
        export: the deployable directories.
        benchmark: how artifacts are timed.
        tracking: where MLflow stores the run.
        sweep: what the jobs of a multirun have in common.
        objective: names of figures in MLflow that a sweep optimizes, the most important first.
        rerun: id of a finished run to repeat from its logged config.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    qat: QatConfig = field(default_factory=QatConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distillation: Optional[DistillationConfig] = None
    pruning: Optional[PruningConfig] = None
    baseline: Optional[BaselineConfig] = None
    export: ExportConfig = field(default_factory=ExportConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    objective: list[str] = field(default_factory=lambda: [DEFAULT_OBJECTIVE])
    rerun: Optional[str] = None


def register() -> None:
    """Register the schema with Hydra as `schema`, the first of the defaults in conf/config.yaml."""
    ConfigStore.instance().store(name="schema", node=Config, replace=True)
