"""Fine-tune a teacher, let it answer the training texts, and keep both for all runs it teaches."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel, set_seed

from pipeline.config.identity import Ingredients, answers_key, teacher_key
from pipeline.config.schema import (
    Config,
    DistillationConfig,
    ModelConfig,
    PhaseConfig,
    QatConfig,
    TrainerConfig,
)
from pipeline.console.disk import disk_errors
from pipeline.data.cache import cached
from pipeline.data.corpus import Corpus
from pipeline.data.tokens import LABELS, collator, highest_id, integers, tokenize
from pipeline.data.transfer import TRANSFER, transfer_corpus
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import TEACHER_HIDDEN_STATE, TEACHER_LOGITS, Evaluator
from pipeline.evaluation.results import Answers, result_of
from pipeline.models.artifact import Artifact, load, save_artifact
from pipeline.models.load import (
    check_max_length,
    check_vocabulary,
    load_classifier,
    load_config,
    load_model,
    load_tokenizer,
    name_padding,
)
from pipeline.models.source import model_version
from pipeline.names import TEACHER, TEST, TRAIN, UNLABELLED, VALIDATION
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.loss import loss_function
from pipeline.training.phases import PHASE_OPTIONS, Phase, scheduled
from pipeline.training.precision import answering
from pipeline.training.schedule import task_of
from pipeline.training.student import check_student
from pipeline.training.teaching import Teaching
from pipeline.training.train_phase import TrainingInputs, train

LOGITS_FILE = "logits.npz"  # of validation and test
TAUGHT = (TRAIN, UNLABELLED, TRANSFER)  # the order of the answers
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teacher:
    """A teacher and what it is asked.

    Args:
        config: resolved config of the run that is taught.
        distillation: the distillation group.
        corpus: the texts.
        model: where the teacher's weights are.
        is_classifier: whether it has a head for the corpus's labels; an encoder is fine-tuned.
        transfer: texts that it is asked beside train; None without any.
    """

    config: Config
    distillation: DistillationConfig
    corpus: Corpus
    model: ModelConfig
    is_classifier: bool
    transfer: Corpus | None

    @classmethod
    def of(
        cls, config: Config, distillation: DistillationConfig, corpus: Corpus, name_or_path: str
    ) -> "Teacher":
        """Look at a teacher.

        Args:
            config: resolved config of the run that is taught.
            distillation: the distillation group.
            corpus: the texts.
            name_or_path: directory or Hub id of the teacher.

        Raises:
            PipelineError: it cannot be loaded, was trained for other labels, or is none that the
                trained model can start from, and is to.
        """
        model = ModelConfig(name_or_path, num_hidden_layers=distillation.num_hidden_layers)
        is_classifier = _is_classifier(model, corpus.label_names)
        if distillation.student_from_teacher:
            check_student(config, distillation, model, is_classifier=is_classifier)
            if is_classifier:
                _check_order(model, corpus.label_names)
        transfer = None
        if distillation.transfer_texts:
            count, seed = distillation.transfer_texts, config.dataset.split_seed
            transfer = transfer_corpus(corpus, count, seed)
        return cls(config, distillation, corpus, model, is_classifier, transfer)


def teach(teacher: Teacher, work_dir: Path) -> Teaching:
    """Let a teacher answer the training texts, once for all runs with that teacher and corpus.

    Args:
        teacher: the teacher.
        work_dir: scratch folder.

    Raises:
        PipelineError: the teacher cannot be loaded.
    """
    name, corpus = teacher.distillation.teacher, teacher.corpus
    model = Artifact(TEACHER, work_dir / TEACHER)
    version = _put_model(teacher, model)

    def write(folder: Path) -> None:
        log.info("teacher %s: answers the training texts", name)
        _write_answers(teacher, model, folder)

    ingredients = Ingredients(corpus.digests, corpus.label_names, version)
    key = answers_key(teacher.config, ingredients)
    teaching = cached(f"teacher-answers-{key}", write, partial(_read, teacher, model))
    if teacher.distillation.student_from_teacher:
        source = str(teaching.result.artifact.path)
        layers = replace(teacher.config.model, name_or_path=source, revision=None)
        student = load_model(layers, teacher.corpus.label_names)
        teaching = replace(teaching, student=student)
    accuracy = teaching.result.metrics.accuracy
    log.info("teacher %s: test accuracy %.4f", name, accuracy)
    labels = integers(teacher.corpus.splits[TEST], "label")
    most_frequent = float(np.bincount(labels).max() / len(labels))
    if accuracy <= most_frequent:
        log.warning(
            "teacher %s has learned nothing: the most frequent class of the test split alone gives "
            "%.4f; fine-tune it with another distillation.learning_rate or "
            "distillation.num_train_epochs, or name another one",
            name,
            most_frequent,
        )
    return teaching


def _is_classifier(model: ModelConfig, label_names: Sequence[str]) -> bool:
    """Tell whether a teacher has a head for these labels; a bare encoder has none."""
    name, config = model.name_or_path, load_config(model)
    architectures = config.architectures or []
    if not any(each.endswith("ForSequenceClassification") for each in architectures):
        return False
    labels = [config.id2label[index] for index in range(config.num_labels)]
    if set(labels) != set(label_names):
        raise PipelineError(
            f"distillation.teacher={name} was trained for other labels: {', '.join(labels)}; "
            f"the corpus has {', '.join(label_names)}."
        )
    return True


def _check_order(model: ModelConfig, label_names: Sequence[str]) -> None:
    """Refuse a teacher whose head has the labels in another order than the corpus."""
    config = load_config(model)
    labels = [config.id2label[index] for index in range(config.num_labels)]
    if labels != list(label_names):
        raise PipelineError(
            f"distillation.teacher={model.name_or_path} has the labels in the order "
            f"{', '.join(labels)}; with distillation.student_from_teacher=true, "
            f"dataset.label_names=[{','.join(labels)}] has to say so."
        )


def _put_model(teacher: Teacher, model: Artifact) -> str:
    """Put a teacher's model into the scratch folder; an encoder is fine-tuned once for all runs.

    It is a copy: it is timed at the end of the run, when the cache may have removed its own.

    Args:
        teacher: the teacher.
        model: where the model is put.

    Returns:
        What identifies the weights, config and tokenizer.
    """
    corpus, work_dir = teacher.corpus, model.path.parent
    name, layers = teacher.model.name_or_path, teacher.model.num_hidden_layers
    version = f"{model_version(teacher.model) or name}, {layers} layers"
    if teacher.is_classifier:
        with disk_errors(work_dir):
            _save(teacher, load_classifier(teacher.model), model.path)
        return version

    def write(folder: Path) -> None:
        log.info("teacher %s: is fine-tuned first", teacher.distillation.teacher)
        _save(teacher, _fine_tuned(teacher, work_dir), folder)

    def read(folder: Path) -> None:
        with disk_errors(work_dir):
            shutil.copytree(folder, model.path, dirs_exist_ok=True)
        # A file that was cut or lost is told here.
        load(model)
        load_tokenizer(ModelConfig(str(model.path)), teacher.config.dataset.max_length)

    ingredients = Ingredients(corpus.digests, corpus.label_names, version)
    key = teacher_key(teacher.config, ingredients, _fine_tuning(teacher))
    cached(f"teacher-{key}", write, read)
    return model_version(ModelConfig(str(model.path)))


def _save(teacher: Teacher, model: PreTrainedModel, path: Path) -> None:
    tokenizer = load_tokenizer(teacher.model, teacher.config.dataset.max_length)
    name_padding(model, tokenizer)
    save_artifact(TEACHER, model.save_pretrained, tokenizer, path)


def _read(teacher: Teacher, model: Artifact, folder: Path) -> Teaching:
    """Load answers, and touch the last one: a file that was cut is told here."""
    corpus = teacher.corpus
    answers = datasets.load_from_disk(str(folder))
    splits = {**corpus.splits, **(teacher.transfer.splits if teacher.transfer else {})}
    rows = sum(len(splits[split]) for split in TAUGHT if split in splits)
    if len(answers) != rows:
        raise ValueError(f"{folder} has {len(answers)} answers for {rows} texts")
    _ = answers[-1]
    with np.load(folder / LOGITS_FILE) as logits:
        test, validation = (
            Answers(logits[split], integers(corpus.splits[split], "label"))
            for split in (TEST, VALIDATION)
        )
    return Teaching(answers, result_of(model, test, validation), None, teacher.transfer)


def _write_answers(teacher: Teacher, artifact: Artifact, folder: Path) -> None:
    """Write what a teacher says of all texts."""
    config, label_names = teacher.config, teacher.corpus.label_names
    tokenizer = load_tokenizer(teacher.model, config.dataset.max_length)
    tokens = tokenize(teacher.corpus, tokenizer, config.dataset)
    model = load(artifact)
    check_max_length(model, config.dataset.max_length)
    check_vocabulary(model, highest_id(tokens))
    order = [model.config.label2id[name] for name in label_names]
    collate = collator(tokenizer, config.dataset)
    batch_size = config.trainer.per_device_eval_batch_size
    if teacher.transfer is not None:
        tokens = {**tokens, **tokenize(teacher.transfer, tokenizer, config.dataset)}
    evaluators = {split: Evaluator(rows, collate, batch_size) for split, rows in tokens.items()}
    taught = [evaluators[split] for split in TAUGHT if split in evaluators]
    # What is taught is taken in the precision that the student is trained in: it is most of the
    # texts. The teacher's own figures are in FP32.
    with answering(config.trainer, model):
        columns = {TEACHER_LOGITS: np.concatenate([e.logits(model)[:, order] for e in taught])}
        if teacher.distillation.hidden_states_weight:
            states = partial(_hidden_state, model)
            columns[TEACHER_HIDDEN_STATE] = np.concatenate(
                [each.outputs(model, states) for each in taught]
            )
    floats = datasets.Sequence(datasets.Value("float32"))
    features = datasets.Features(dict.fromkeys(columns, floats))
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(folder))
    logits = {split: evaluators[split].logits(model)[:, order] for split in (TEST, VALIDATION)}
    np.savez(folder / LOGITS_FILE, **logits)


def _hidden_state(model: PreTrainedModel, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the last hidden states of the classification token, (batch, hidden)."""
    states: torch.Tensor = model(**inputs, output_hidden_states=True).hidden_states[-1]
    return states[:, 0]


def _fine_tuned(teacher: Teacher, work_dir: Path) -> PreTrainedModel:
    """Fine-tune an encoder to be a teacher."""
    config, label_names = teacher.config, teacher.corpus.label_names
    tokenizer = load_tokenizer(teacher.model, config.dataset.max_length)
    tokens = tokenize(teacher.corpus, tokenizer, config.dataset)
    smoothing = config.trainer.label_smoothing_factor
    labels = integers(tokens[TRAIN], LABELS)
    inputs = TrainingInputs(
        splits=tokens,
        tokenizer=tokenizer,
        collate=collator(tokenizer, config.dataset),
        loss=loss_function(config.loss, labels, len(label_names), smoothing),
        distillation=None,
        hidden_states_weight=0.0,
        checkpoints=Checkpoints(work_dir / "teacher_checkpoints", resumed=False, chosen=None),
        log_curves=lambda entries, step: None,
        model=config.model,
    )
    # The draws of the student's head, which came before, are not part of the teacher.
    set_seed(config.trainer.seed)
    start = load_model(teacher.model, label_names)
    name_padding(start.model, tokenizer)
    check_max_length(start.model, config.dataset.max_length)
    check_vocabulary(start.model, highest_id(tokens))
    trainer = scheduled(_fine_tuning(teacher), task_of(start.model, len(labels)))
    recipe = QatConfig(TEACHER)
    phase = Phase(TEACHER, trainer, PhaseConfig(quantize=False), recipe, None, None)
    return train(start, phase, inputs, first_step=0).model


def _fine_tuning(teacher: Teacher) -> TrainerConfig:
    """Return the trainer group of the phase in which an encoder learns to be a teacher."""
    distillation = teacher.distillation
    options = {
        key: getattr(distillation, key)
        for key in PHASE_OPTIONS
        if getattr(distillation, key) is not None
    }
    if distillation.num_train_epochs is not None:
        options["max_steps"] = -1  # which would be the length otherwise
    return replace(teacher.config.trainer, **options, output_dir=None, resume_from_checkpoint=None)
