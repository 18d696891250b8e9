"""The names of the figures that a run logs, and which way each of them is better."""

from pipeline.config.schema import FP32_FORMATS, INT8_FORMATS, Config
from pipeline.errors import PipelineError, nearest
from pipeline.evaluation.benchmark import LENGTHS

SCORED = ("accuracy", "loss", "f1_macro")
TIMED = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_spread", "throughput_per_s")
HIGHER_IS_BETTER = ("accuracy", "f1_macro", "throughput_per_s", "speedup", "sparsity")


def higher_is_better(name: str) -> bool:
    """Say which way a figure is better: accuracies, F1, throughput and speed-up up; loss, times, sizes and drops down.

    Args:
        name: as logged, with or without a variant's prefix.
    """
    figure = name.rpartition("/")[2].removeprefix("validation_")
    return figure.startswith(HIGHER_IS_BETTER) and figure != "accuracy_drop"


def gain(name: str, value: float) -> float:
    """Turn a figure round where less of it is better, so that more of what is returned always is.

    Args:
        name: of the figure.
        value: as logged.
    """
    return value if higher_is_better(name) else -value


def logged_by(config: Config) -> list[str]:
    """List what a run of this config logs once it is FINISHED, without the corpus's own figures.

    Args:
        config: resolved.
    """
    quantizes = config.qat.quantizes
    trained = ["fp32", "int8"] if quantizes else ["fp32"]
    exported = [
        name
        for name in config.export.formats
        if name in FP32_FORMATS or (quantizes and name in INT8_FORMATS)
    ]
    names = [
        *SCORED,
        "accuracy_drop",
        "size_ratio",
        "pretrained/accuracy",
        "pretrained/loss",
        "time/total_s",
    ]
    names += [f"time/{phase}_s" for phase in config.qat.phases]
    if config.qat.post_training is not None:
        names.append("time/post_training_s")
    if config.pruning is not None:
        names += [f"{variant}/sparsity" for variant in trained]
    if config.distillation is not None:
        names += [
            f"teacher/{prefix}{figure}" for prefix in ("", "validation_") for figure in SCORED
        ]
    names += [f"{trained[-1]}/validation_{figure}" for figure in SCORED]
    names += [f"{variant}/reload_max_abs_difference" for variant in trained]
    names += [f"{variant}/differing_predictions" for variant in exported]
    for variant in (*trained, *exported):
        names += [f"{variant}/{figure}" for figure in (*SCORED, "size_mb", "ece")]
    if config.benchmark.repetitions:
        suffixes = [
            "",
            *(f"_{tokens}_tokens" for tokens in LENGTHS if tokens <= config.dataset.max_length),
        ]
        timed = [
            "load_s",
            "peak_memory_mb",
            *(f"{figure}{suffix}" for figure in TIMED for suffix in suffixes),
        ]
        names.append("speedup")
        names += [f"{variant}/{figure}" for variant in (*trained, *exported) for figure in timed]
    return sorted(names)


def check_objectives(objectives: list[str], configs: list[Config]) -> None:
    """Make sure, before anything runs, that some run will log each objective.

    Args:
        objectives: names of figures.
        configs: of the jobs to come.

    Raises:
        PipelineError: no job logs one of them.
    """
    known = {name for config in configs for name in logged_by(config)}
    for name in objectives:
        if name not in known:
            raise PipelineError(
                f"objective={name} is logged by no run of this sweep; {nearest(name, known, 5)}"
            )
