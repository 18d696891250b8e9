"""A larger model to logits of the training texts, which are kept on disk for all runs that it teaches."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import datasets
import numpy as np
from filelock import FileLock
from neural_compressor import DistillationConfig as IncDistillationConfig
from neural_compressor.config import KnowledgeDistillationLossConfig
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from pipeline.compression.inc_configs import Phase
from pipeline.config.schema import Config, DistillationConfig, ModelConfig, PhaseConfig, QatConfig
from pipeline.data.corpus import Collate, Corpus, cache_folder, collator, tokenize
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import predict_logits, score
from pipeline.models.load import load_model, load_tokenizer
from pipeline.tracking.locate_model import fp32_directory
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.loss import loss_function
from pipeline.training.train_phase import Material, train

LOGITS = "teacher_logits"
FIGURES_FILE = "figures.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teaching:
    """What a teacher has to say.

    Args:
        logits: of train, in its order; a dataset with the column teacher_logits, mapped into memory.
        figures: `teacher/...` on test and validation.
    """

    logits: datasets.Dataset
    figures: dict[str, float]

    def join(self, train: datasets.Dataset) -> datasets.Dataset:
        """Put the logits beside the tokens."""
        return datasets.concatenate_datasets([train, self.logits], axis=1)


def teach(
    config: Config, distillation: DistillationConfig, corpus: Corpus, work_dir: Path
) -> Teaching:
    """Let the teacher answer the training texts, once for all runs with the same teacher and corpus.

    Args:
        config: for the trainer and the dataset.
        distillation: which teacher, and how it is fine-tuned if it is not yet.
        corpus: the texts.
        work_dir: scratch folder.

    Raises:
        PipelineError: the teacher cannot be loaded, or was trained for other labels.
    """
    where = ModelConfig(
        fp32_directory(distillation.teacher, config.tracking.tracking_uri),
        num_hidden_layers=distillation.num_hidden_layers,
    )
    ready = _is_classifier(where, corpus.label_names)
    folder = _cache(config, distillation, corpus, where, ready)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / FIGURES_FILE).is_file():
            log.info(
                "teacher %s: %s",
                distillation.teacher,
                "answers the training texts" if ready else "is fine-tuned first",
            )
            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            _answer(config, distillation, corpus, where, ready, work_dir, unfinished)
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.rename(folder)
    figures: dict[str, float] = json.loads((folder / FIGURES_FILE).read_text(encoding="utf-8"))
    log.info("teacher %s: test accuracy %.4f", distillation.teacher, figures["teacher/accuracy"])
    labels = np.asarray(corpus.splits["test"]["label"])
    constant = float(np.bincount(labels).max() / len(labels))
    if figures["teacher/accuracy"] <= constant:
        log.warning(
            "teacher %s has learned nothing: the most frequent class of the test split alone gives %.4f; "
            "fine-tune it with another distillation.learning_rate or distillation.num_train_epochs, or name another one",
            distillation.teacher,
            constant,
        )
    return Teaching(datasets.load_from_disk(str(folder)), figures)


def inc_distillation(config: DistillationConfig) -> IncDistillationConfig:
    """Build Neural Compressor's config; the teacher in it is a name, because its logits are on disk."""
    criterion = KnowledgeDistillationLossConfig(
        temperature=config.temperature,
        loss_types=["CE", "CE"],
        loss_weights=list(config.loss_weights),
    )
    return IncDistillationConfig(
        teacher_model=_Absent(Path(config.teacher).name), criterion=criterion
    )


class _Absent(nn.Module):
    """Stands for a teacher that need not be in memory; INCTrainer (optimum-intel 1.27) wants one with a config."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.config = PretrainedConfig(name_or_path=name)


def _is_classifier(where: ModelConfig, label_names: Sequence[str]) -> bool:
    """Whether the teacher has a head for these labels; a bare encoder has none.

    Raises:
        PipelineError: it has a head for others.
    """
    try:
        found = AutoConfig.from_pretrained(where.name_or_path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise PipelineError(
            f"distillation.teacher={where.name_or_path} cannot be loaded: {str(error).splitlines()[0]}"
        ) from error
    if not any(name.endswith("ForSequenceClassification") for name in found.architectures or []):
        return False
    own = [found.id2label[index] for index in range(found.num_labels)]
    if set(own) != set(label_names):
        raise PipelineError(
            f"distillation.teacher={where.name_or_path} was trained for other labels: {', '.join(own)}; "
            f"the corpus has {', '.join(label_names)}."
        )
    return True


def _cache(
    config: Config,
    distillation: DistillationConfig,
    corpus: Corpus,
    where: ModelConfig,
    ready: bool,
) -> Path:
    parts = [
        _weights_digest(where),
        *(corpus.digest(split) for split in corpus.splits),
        str(config.dataset.max_length),
    ]
    if not ready:
        trained_by = {**asdict(config.trainer), **asdict(distillation)}
        for name in (
            "disable_tqdm",
            "output_dir",
            "resume_from_checkpoint",
            "teacher",
            "temperature",
            "loss_weights",
        ):
            del trained_by[name]
        parts.append(json.dumps(trained_by, sort_keys=True))
    return (
        cache_folder() / f"teacher-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:32]}"
    )


def _weights_digest(where: ModelConfig) -> str:
    """Tell a teacher's weights by their content, or by name and revision if they are on the Hub."""
    files = sorted(Path(where.name_or_path).glob("*.safetensors")) or sorted(
        Path(where.name_or_path).glob("*.bin")
    )
    if not files:
        return where.name_or_path
    sha = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                sha.update(block)
    return sha.hexdigest()


def _answer(
    config: Config,
    distillation: DistillationConfig,
    corpus: Corpus,
    where: ModelConfig,
    ready: bool,
    work_dir: Path,
    folder: Path,
) -> None:
    tokenizer = load_tokenizer(where, config.dataset.max_length)
    tokens = tokenize(corpus, tokenizer, config.dataset)
    collate = collator(tokenizer, config.dataset)
    if ready:
        model = AutoModelForSequenceClassification.from_pretrained(
            where.name_or_path, attn_implementation="eager"
        )
        order = [model.config.label2id[name] for name in corpus.label_names]
    else:
        model = load_model(where, corpus.label_names)
        order = list(range(len(corpus.label_names)))
        own = {name: getattr(distillation, name) for name in ("num_train_epochs", "learning_rate")}
        trainer = replace(
            config.trainer, **{name: value for name, value in own.items() if value is not None}
        )
        trainer = replace(trainer, output_dir=None, resume_from_checkpoint=None)
        phase = Phase(
            "teacher", trainer, PhaseConfig(quantize=False), QatConfig("teacher"), None, None
        )
        material = Material(
            splits=tokens,
            tokenizer=tokenizer,
            collate=collate,
            loss=loss_function(
                config.loss, tokens["train"]["labels"], len(order), trainer.label_smoothing_factor
            ),
            distillation=None,
            checkpoints=Checkpoints(work_dir / "teacher", resumed=False, chosen=None),
            log_metrics=lambda entries, step: None,
            classification_token_only=config.model.classification_token_only,
        )
        model = train(model, phase, material, first_step=0).model
    _write(folder, model, tokens, collate, order, config.trainer.per_device_eval_batch_size)


def _write(
    folder: Path,
    model: PreTrainedModel,
    tokens: Mapping[str, datasets.Dataset],
    collate: Collate,
    order: Sequence[int],
    batch_size: int,
) -> None:
    found = {
        split: predict_logits(model, tokens[split], collate, batch_size)[:, order]
        for split in ("train", "validation", "test")
    }
    features = datasets.Features({LOGITS: datasets.Sequence(datasets.Value("float32"))})
    datasets.Dataset.from_dict({LOGITS: found["train"]}, features=features).save_to_disk(
        str(folder)
    )
    figures: dict[str, float] = {}
    for split, prefix in (("test", ""), ("validation", "validation_")):
        metrics = score(found[split], np.asarray(tokens[split]["labels"]))
        figures |= {f"teacher/{prefix}{name}": value for name, value in metrics.scalars.items()}
    (folder / FIGURES_FILE).write_text(json.dumps(figures) + "\n", encoding="utf-8")
