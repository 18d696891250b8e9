"""Prepare a run: load tokenizer and model, and make every check that can fail before training."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from transformers import (
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)

from pipeline.compression.modules import matching_modules
from pipeline.config.schema import Config
from pipeline.data.corpus import Corpus
from pipeline.data.tokens import Tokens, collator, highest_id, tokenize
from pipeline.evaluation.metrics import Evaluator
from pipeline.models.export import check_exportable, separator_of
from pipeline.models.load import (
    Pretrained,
    check_max_length,
    check_quantizable,
    check_vocabulary,
    load_model,
    load_tokenizer,
    name_padding,
)
from pipeline.names import REPORTS, TEST, UNLABELLED, VALIDATION
from pipeline.reports import corpus as corpus_report
from pipeline.tracking.locate_model import fp32_directory
from pipeline.tracking.tracker import RunInput, Tracker
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.distillation import Teacher
from pipeline.training.recipe import RecipeInputs


@dataclass(frozen=True)
class Context:
    """What every chapter of a run needs.

    Args:
        config: resolved config of the run.
        tracker: logs to the open MLflow run.
        scratch: folder that lasts as long as the run.
        checkpoints: checkpoints of the run, and which one to go on from.
    """

    config: Config
    tracker: Tracker
    scratch: Path
    checkpoints: Checkpoints

    @property
    def reports(self) -> Path:
        """The folder that becomes the artifact `reports`."""
        return self.scratch / REPORTS


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to train.

    Args:
        start: pretrained encoder under a head.
        model_config: its config before training.
        teacher: the teacher; None without distillation.
        inputs: what the recipe is applied to, but for the teacher's answers.
        test: runs models over the test split.
        validation: runs models over the validation split.
        corpus_figures: counts and lengths of the splits, by the figure's name.
    """

    start: Pretrained
    model_config: PretrainedConfig
    teacher: Teacher | None
    inputs: RecipeInputs
    test: Evaluator
    validation: Evaluator
    corpus_figures: Mapping[str, float]

    @property
    def corpus(self) -> Corpus:
        """The labelled texts."""
        return self.inputs.corpus


def prepare(context: Context, corpus: Corpus) -> Prepared:
    """Load tokenizer and model, and make every check that can fail before training.

    Args:
        context: config, tracker and scratch folder.
        corpus: the labelled texts.
    """
    config = context.config
    set_seed(config.trainer.seed)
    tokenizer = load_tokenizer(config.model, config.dataset.max_length)
    start = load_model(config.model, corpus.label_names)
    name_padding(start.model, tokenizer)
    model_config = deepcopy(start.model.config)
    fp32_modules = _check_model(start.model, tokenizer, config)
    inputs = _recipe_inputs(context, corpus, tokenizer, fp32_modules)
    check_vocabulary(start.model, highest_id(inputs.tokens))
    corpus_figures = _describe_corpus(context, corpus, inputs.tokens)
    batch_size = config.trainer.per_device_eval_batch_size
    test = Evaluator(inputs.tokens[TEST], inputs.collate, batch_size)
    validation = Evaluator(inputs.tokens[VALIDATION], inputs.collate, batch_size)
    return Prepared(
        start, model_config, _teacher(config, corpus), inputs, test, validation, corpus_figures
    )


def _check_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, config: Config
) -> tuple[str, ...]:
    """Refuse a model that the run cannot quantize or export; name the modules that stay in FP32."""
    check_max_length(model, config.dataset.max_length)
    if config.qat.quantizes:
        check_quantizable(model)
    fp32_modules = matching_modules(model, config.qat.fp32_modules)
    if config.export.formats:
        separator = separator_of(tokenizer, pairs=config.dataset.text_pair_column is not None)
        check_exportable(model, config.dataset.max_length, separator)
    return fp32_modules


def _recipe_inputs(
    context: Context,
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerFast,
    fp32_modules: Sequence[str],
) -> RecipeInputs:
    """Turn the corpus into tokens."""
    config = context.config
    tokens = tokenize(corpus, tokenizer, config.dataset)
    collate, checkpoints = collator(tokenizer, config.dataset), context.checkpoints
    return RecipeInputs(
        corpus, tokens, tokenizer, collate, checkpoints, fp32_modules, None, context.scratch
    )


def _teacher(config: Config, corpus: Corpus) -> Teacher | None:
    if config.distillation is None:
        return None
    path = fp32_directory(config.distillation.teacher, config.tracking.tracking_uri)
    return Teacher.of(config, config.distillation, corpus, path)


def _describe_corpus(context: Context, corpus: Corpus, tokens: Tokens) -> Mapping[str, float]:
    max_length = context.config.dataset.max_length
    described = corpus_report.describe(corpus, tokens, max_length)
    corpus_report.write_corpus(context.reports, tokens, described, max_length)
    corpus_report.show_corpus(corpus.name, described)
    corpus_report.warn_of_corpus(corpus.name, described, max_length)
    digests = corpus.digests
    sources = {UNLABELLED: str(context.config.dataset.unlabelled_file)}
    context.tracker.log_inputs(
        RunInput(
            split,
            rows,
            f"{corpus.name}-{split}",
            digests[split],
            sources.get(split, corpus.source),
        )
        for split, rows in corpus.splits.items()
    )
    return described.figures
