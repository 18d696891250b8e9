"""Say which figures a run of a config logs, and which way each of them is better.

`promised_figures` is the only list of them: the tracker refuses a figure that is not in it, and a
run that lacks one of them is not FINISHED. What `objective` accepts can therefore not drift from
what runs log.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import inf, isnan, nan

from pipeline.config.schema import BENCHMARK_LENGTHS, Config
from pipeline.errors import PipelineError, nearest
from pipeline.names import (
    ACCURACY,
    ACCURACY_DROP,
    DIFFERING_PREDICTIONS,
    ECE,
    F1_MACRO,
    FP32,
    FP32_FORMATS,
    HIGHER_IS_BETTER,
    INT8,
    INT8_FORMATS,
    LATENCY_P50_MS,
    LINEAR,
    LOAD_S,
    LOSS,
    PEAK_MEMORY_MB,
    POST_TRAINING,
    PRETRAINED,
    RELOAD_MAX_ABS_DIFFERENCE,
    SCORED,
    SIZE_MB,
    SIZE_RATIO,
    SPARSITY,
    SPEEDUP,
    TEACHER,
    TIMED,
    TOTAL_TIME,
    WITH_INTERVAL,
    at_length,
    bf16_of,
    epochs_of,
    figure_of,
    interval_of,
    kept_start_of,
    learning_rate_of,
    on_validation,
    time_of,
)

SUGGESTED_FIGURES = 5  # that an error names


def higher_is_better(name: str) -> bool:
    """Say whether more of a figure is better.

    More accuracy, F1, throughput, speed-up and sparsity are better, and less of any other figure.

    Args:
        name: name of the figure as logged, with or without a variant's prefix.
    """
    figure = _without_prefix(name)
    return figure.startswith(HIGHER_IS_BETTER) and figure != ACCURACY_DROP


def is_score(name: str) -> bool:
    """Say whether a figure tells how good the answers of a model are, and not what they cost.

    Args:
        name: name of the figure as logged, with or without a variant's prefix.
    """
    return _without_prefix(name).startswith((*SCORED, ECE))


def _without_prefix(name: str) -> str:
    return name.rpartition("/")[2].removeprefix(on_validation(""))


def gain(name: str, value: float) -> float:
    """Turn a figure's sign where less is better, so that more of the result is always better.

    Args:
        name: name of the figure as logged.
        value: value of the figure.
    """
    return value if higher_is_better(name) else -value


def rank(figures: Mapping[str, float], objectives: Sequence[str]) -> tuple[float, ...]:
    """Return what orders runs by objectives: more is better, the first objective counts most.

    Args:
        figures: value by the figure's name; one that is missing or not a number is the worst.
        objectives: names of figures, the most important first.
    """
    gains = [gain(name, figures.get(name, nan)) for name in objectives]
    return tuple(-inf if isnan(value) else value for value in gains)


def trained_variants(config: Config) -> tuple[str, ...]:
    """Return the variants that a run of a config trains, in PyTorch."""
    return (FP32, INT8) if config.qat.quantizes else (FP32,)


def rival_variants(config: Config) -> tuple[str, ...]:
    """Return the variants that a run of a config is compared with."""
    baseline = () if config.baseline is None else (LINEAR,)
    return baseline if config.distillation is None else (*baseline, TEACHER)


def exported_variants(config: Config) -> tuple[str, ...]:
    """Return the variants that a run of a config exports; without quantization none is INT8."""
    made = (*FP32_FORMATS, *INT8_FORMATS) if config.qat.quantizes else FP32_FORMATS
    return tuple(name for name in config.export.formats if name in made)


def promised_figures(config: Config) -> frozenset[str]:
    """Name every figure that a FINISHED run of a config has logged, but the corpus's own.

    Args:
        config: resolved config of the run.
    """
    trained, exported = trained_variants(config), exported_variants(config)
    names = {*SCORED, *map(on_validation, SCORED), ACCURACY_DROP, SIZE_MB, SIZE_RATIO, TOTAL_TIME}
    names |= {*interval_of(ACCURACY), *interval_of(F1_MACRO)}
    names |= {figure_of(PRETRAINED, ACCURACY), figure_of(PRETRAINED, LOSS)}
    for phase in config.qat.phases:
        names |= {time_of(phase), epochs_of(phase), learning_rate_of(phase), bf16_of(phase)}
    if config.trainer.load_best_model_at_end:
        following = list(config.qat.phases.items())[1:]
        names |= {kept_start_of(phase) for phase, options in following if options.quantize}
    if config.qat.post_training is not None:
        names.add(time_of(POST_TRAINING))
    if config.baseline is not None:
        names.add(time_of(LINEAR))
    if config.pruning is not None:
        names |= {figure_of(variant, SPARSITY) for variant in trained}
    names |= {figure_of(variant, RELOAD_MAX_ABS_DIFFERENCE) for variant in trained}
    names |= {figure_of(variant, DIFFERING_PREDICTIONS) for variant in exported}
    variants = (*rival_variants(config), *trained, *exported)
    for variant in variants:
        names |= {figure_of(variant, figure) for figure in (*SCORED, SIZE_MB, ECE)}
        names |= {
            figure_of(variant, end) for figure in WITH_INTERVAL for end in interval_of(figure)
        }
        names |= {figure_of(variant, on_validation(figure)) for figure in SCORED}
    if config.benchmark.repetitions:
        names |= {SPEEDUP, LATENCY_P50_MS}
        timed = list(_timed(config))
        names |= {figure_of(variant, figure) for variant in variants for figure in timed}
    return frozenset(names)


def _timed(config: Config) -> Iterator[str]:
    yield from (LOAD_S, PEAK_MEMORY_MB)
    lengths = [tokens for tokens in BENCHMARK_LENGTHS if tokens <= config.dataset.max_length]
    for figure in TIMED:
        for tokens in (None, *lengths):
            yield at_length(figure, tokens)


def check_objectives(objectives: Sequence[str], configs: Sequence[Config]) -> None:
    """Make sure, before anything runs, that some job logs each objective.

    Args:
        objectives: names of figures.
        configs: resolved configs of the jobs.

    Raises:
        PipelineError: no job logs one of them.
    """
    logged = {name for config in configs for name in promised_figures(config)}
    for name in objectives:
        if name not in logged:
            suggestion = nearest(name, logged, SUGGESTED_FIGURES)
            raise PipelineError(f"objective={name} is logged by no run of this sweep; {suggestion}")
