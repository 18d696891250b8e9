"""Spell each name that a run leaves behind once: variants, figures, curves, tags and files.

Writers and readers of a name import it from here, and so does `pipeline.config.objectives`, which
says what a run of a config logs.
"""

# Variants: the prefix of an artifact's figures, and the folder that it is stored in.
LINEAR = "linear"  # the baseline
TEACHER = "teacher"  # timed and measured beside them, but not stored
FP32 = "fp32"
INT8 = "int8"
ONNX_FP32 = "onnx_fp32"
ONNX_INT8 = "onnx_int8"
OPENVINO_INT8 = "openvino_int8"
FP32_FORMATS = (ONNX_FP32,)
INT8_FORMATS = (ONNX_INT8, OPENVINO_INT8)

# Splits, and what MLflow calls them as inputs of a run.
TRAIN = "train"
VALIDATION = "validation"
TEST = "test"
SPLITS = (TRAIN, VALIDATION, TEST)
UNLABELLED = "unlabelled"  # texts for a teacher to label, where a corpus has them
MLFLOW_CONTEXTS = {
    TRAIN: "training",
    VALIDATION: "validation",
    TEST: "testing",
    UNLABELLED: UNLABELLED,
}

# Figures of a model, with a variant's prefix or, for the shipped artifact, without.
ACCURACY = "accuracy"
LOSS = "loss"
F1_MACRO = "f1_macro"
SCORED = (ACCURACY, LOSS, F1_MACRO)
ECE = "ece"
WITH_INTERVAL = (ACCURACY, F1_MACRO, ECE)  # on the test split
SIZE_MB = "size_mb"
SPARSITY = "sparsity"
RELOAD_MAX_ABS_DIFFERENCE = "reload_max_abs_difference"
DIFFERING_PREDICTIONS = "differing_predictions"
ACCURACY_DROP = "accuracy_drop"
SIZE_RATIO = "size_ratio"
SPEEDUP = "speedup"

# Figures of a benchmark, at the corpus's own lengths or, with a suffix, at one length.
LOAD_S = "load_s"
PEAK_MEMORY_MB = "peak_memory_mb"
LATENCY_P50_MS = "latency_p50_ms"
LATENCY_P95_MS = "latency_p95_ms"
LATENCY_P99_MS = "latency_p99_ms"
LATENCY_SPREAD = "latency_spread"
THROUGHPUT_PER_S = "throughput_per_s"
TIMED = (LATENCY_P50_MS, LATENCY_P95_MS, LATENCY_P99_MS, LATENCY_SPREAD, THROUGHPUT_PER_S)

HIGHER_IS_BETTER = (ACCURACY, F1_MACRO, THROUGHPUT_PER_S, SPEEDUP, SPARSITY)

# Prefixes of figures that belong to no artifact.
PRETRAINED = "pretrained"
CORPUS = "corpus"
TIME = "time"
JOBS = "jobs"
BEST = "best"
POST_TRAINING = "post_training"  # the stage after the training phases

# Curves by step, over all phases.
TRAIN_LOSS = "train/loss"
TRAIN_LEARNING_RATE = "train/learning_rate"
VALIDATION_ACCURACY = "validation/accuracy"
VALIDATION_F1_MACRO = "validation/f1_macro"
VALIDATION_LOSS = "validation/loss"

# Statuses of a run, as MLflow has them, and of a job that a sweep's pruner stopped.
FINISHED = "FINISHED"
FAILED = "FAILED"
KILLED = "KILLED"
RUNNING = "RUNNING"
PRUNED = "PRUNED"

OBJECTIVE_PARAM = "objective"  # of a sweep's run

# Tags of a run.
SHIPPED_TAG = "shipped"
CONFIG_HASH_TAG = "config.hash"
# What the figures of a run depend on beside its config and data (config.identity).
FIGURES_VERSION_TAG = "figures.version"
LIBRARIES_TAG = "libraries"
LABELS_TAG = "labels.digest"
MODEL_TAG = "model.digest"  # or the Hub's commit
TEACHER_TAG = "teacher.digest"  # or the id of its run; empty without a teacher
MODEL_COMMIT_TAG = "model.commit"
DATASET_COMMIT_TAG = "dataset.commit"
FAILURE_TAG = "failure"  # one line: why a run is FAILED or KILLED
PRUNED_TAG = "pruned"  # one line: why a sweep's pruner stopped the job
PROCESS_TAG = "process"
HEARTBEAT_TAG = "heartbeat"
CPU_TAG = "cpu.model"
CPU_COUNT_TAG = "cpu.count"
CPU_THREADS_TAG = "cpu.threads"
GIT_COMMIT_TAG = "git.commit"
DESCRIPTION_TAG = "mlflow.note.content"
PARENT_TAG = "mlflow.parentRunId"
CONTEXT_TAG = "mlflow.data.context"  # of a run's input
SWEEP_TAG = "sweep.key"  # of parent runs only
BEST_RUN_ID_TAG = "best_run_id"
BEST_RUN_TAG = "best_run"
PROMOTION_TAG = "promotion"
KEPT_TAG = "kept"  # which of its models a run still has, if not all
BASELINE_TAG = "baseline"  # whether the shipped model beats the linear one, and the figures

# The model of a run, and the registered one.
MODEL = "model"
REGISTERED_MODEL = "int8-text-classifier"
CHAMPION_ALIAS = "champion"
CHAMPION = f"models:/{REGISTERED_MODEL}@{CHAMPION_ALIAS}"

# Artifacts beside the variants' folders.
CONFIG = "config"
CONFIG_FILE = "config.yaml"
PACKAGES_FILE = "packages.txt"
PROMOTION_FILE = "promotion.json"
CARD_FILE = "model_card.md"
COMPARISON_PAGE = "comparison.html"
COMPARISON_TABLE = "comparison.csv"
REPORTS = "reports"
REPORT_PAGE = "report.html"

# Tables and pictures in `reports`.
CORPUS_TABLE = "corpus.csv"
CORPUS_CHART = "corpus.png"
TOKEN_LENGTHS_TABLE = "token_lengths.csv"  # noqa: S105
EXAMPLES_TABLE = "examples.csv"
STATISTICS_TABLE = "mixed_precision_statistics.csv"
LAYERS_TABLE = "layers.csv"
FIGURES_TABLE = "figures.csv"
PREDICTIONS_TABLE = "predictions.csv"
BENCHMARK_TABLE = "benchmark.csv"
BENCHMARK_CHART = "benchmark.png"
PER_CLASS_TABLE = "per_class.csv"
CALIBRATION_TABLE = "calibration.csv"
MISTAKES_TABLE = "mistakes.csv"
DISAGREEMENTS_TABLE = "disagreements.csv"
ACCURACY_BY_LENGTH_TABLE = "accuracy_by_length.csv"


def figure_of(prefix: str, figure: str) -> str:
    """Name a figure of a variant, or of another prefix: onnx_int8/accuracy."""
    return f"{prefix}/{figure}"


def on_validation(figure: str) -> str:
    """Name a figure as measured on the validation split: validation_accuracy."""
    return f"validation_{figure}"


def interval_of(figure: str) -> tuple[str, str]:
    """Name the ends of a figure's 95 % confidence interval: accuracy_ci_low, accuracy_ci_high."""
    return f"{figure}_ci_low", f"{figure}_ci_high"


DEFAULT_OBJECTIVE = on_validation(ACCURACY)  # of the shipped artifact


def at_length(figure: str, tokens: int | None) -> str:
    """Name a benchmark's figure at one length: latency_p50_ms_16_tokens; None is the corpus's."""
    return figure if tokens is None else f"{figure}_{tokens}_tokens"


def time_of(stage: str) -> str:
    """Name the seconds that a stage of a run took: time/finetune_s."""
    return f"{TIME}/{stage}_s"


TOTAL_TIME = time_of("total")


def epochs_of(phase: str) -> str:
    """Name the length of a training phase: epochs/finetune."""
    return f"epochs/{phase}"


def kept_start_of(phase: str) -> str:
    """Name whether a quantizing phase ended where it started, 1 or 0: kept_start/qat."""
    return f"kept_start/{phase}"


def learning_rate_of(phase: str) -> str:
    """Name the peak learning rate of a training phase: learning_rate/finetune."""
    return f"learning_rate/{phase}"


def bf16_of(phase: str) -> str:
    """Name whether a training phase computed in bfloat16, 1 or 0: bf16/finetune."""
    return f"bf16/{phase}"


def confusion_table(variant: str) -> str:
    """Name the file of a variant's confusion matrix."""
    return f"confusion_{variant}.csv"
