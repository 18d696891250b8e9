"""Measure how long a training step takes in FP32, with a teacher's logits, and in QAT.

python benchmarks/training_step.py [--data-dir DIR] [--steps N]

Each is measured as INCTrainer does it, then with the last layer cut to the classification token,
then with batches of like length too, and then in bfloat16 (a pipeline's QAT phase stays in FP32
unless it is told otherwise). The model is the 2-layer MiniLM at batch 32; a figure is
the median over the steps after the first five, all in one process. The teacher's logits are random:
a step's time does not depend on them.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.console import third_parties

third_parties.prepare()

import datasets
import numpy as np
from _inputs import CORPUS, ENCODER
from transformers import PreTrainedTokenizerFast

from pipeline.compression.inc_configs import qat_config
from pipeline.config.schema import (
    DatasetConfig,
    DistillationConfig,
    LossConfig,
    ModelConfig,
    PhaseConfig,
    QatConfig,
    TrainerConfig,
)
from pipeline.data.corpus import load_corpus
from pipeline.data.tokens import LABELS, Tokens, collator, tokenize
from pipeline.evaluation.metrics import TEACHER_LOGITS
from pipeline.models.load import load_model, load_tokenizer
from pipeline.names import TRAIN
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.loss import loss_function
from pipeline.training.phases import Phase
from pipeline.training.teaching import inc_distillation
from pipeline.training.train_phase import TrainingInputs, train

MODEL = ModelConfig(ENCODER, num_hidden_layers=2)
BATCH_SIZE = 32
LEARNING_RATE = 3e-4
WARM_UP_STEPS = 5
FP32_STEP = "FP32"
DISTILLED_STEP = "distilled"
QAT_STEP = "QAT"
KINDS = (FP32_STEP, DISTILLED_STEP, QAT_STEP)


@dataclass(frozen=True)
class Shortcuts:
    """What shortens a step.

    Args:
        classification_token_only: whether the last layer is computed for that token alone.
        group_by_length: whether batches have texts of like length.
        bf16: whether the forward pass is in bfloat16.
    """

    classification_token_only: bool
    group_by_length: bool
    bf16: bool


SHORTCUTS = (
    Shortcuts(classification_token_only=False, group_by_length=False, bf16=False),
    Shortcuts(classification_token_only=True, group_by_length=False, bf16=False),
    Shortcuts(classification_token_only=True, group_by_length=True, bf16=False),
    Shortcuts(classification_token_only=True, group_by_length=True, bf16=True),
)


@dataclass(frozen=True)
class Inputs:
    """What the steps are trained on.

    Args:
        dataset: the dataset group.
        label_names: classes in the order of their ids.
        tokenizer: tokenizer of the model.
        tokens: the corpus's splits, tokenized.
    """

    dataset: DatasetConfig
    label_names: Sequence[str]
    tokenizer: PreTrainedTokenizerFast
    tokens: Tokens


def main() -> None:
    """Measure every kind of step with every shortcut, and print a table."""
    inputs = load_inputs(parser().parse_args())
    print(
        f"{'':14}{'INCTrainer':>12}{'last layer cut':>16}{'and grouped':>16}{'and bfloat16':>16} ms"
    )
    rows = {kind: [step_ms(kind, shortcuts, inputs) for shortcuts in SHORTCUTS] for kind in KINDS}
    for kind, row in rows.items():
        print(f"{kind:14}{row[0]:12.0f}" + "".join(f"{ms:16.0f}" for ms in row[1:]))
    for kind in (DISTILLED_STEP, QAT_STEP):
        ratios = [ms / fp32_ms for ms, fp32_ms in zip(rows[kind], rows[FP32_STEP], strict=True)]
        cells = "".join(f"{ratio:16.2f}" for ratio in ratios[1:])
        print(f"{kind + '/FP32':14}{ratios[0]:12.2f}{cells}")


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--data-dir",
        metavar="DIR",
        default=CORPUS,
        help="folder with train, validation and test (default: %(default)s)",
    )
    command.add_argument(
        "--steps",
        metavar="N",
        type=int,
        default=50,
        help="steps to train each time (default: %(default)s)",
    )
    return command


def load_inputs(options: argparse.Namespace) -> Inputs:
    """Load as many texts as the steps take, and tokenize them.

    Args:
        options: the command line, for the data and the number of steps.
    """
    dataset = DatasetConfig(
        name="corpus",
        data_dir=options.data_dir,
        max_train_samples=BATCH_SIZE * options.steps,
        max_eval_samples=64,
    )
    corpus = load_corpus(dataset)
    tokenizer = load_tokenizer(MODEL, dataset.max_length)
    return Inputs(dataset, corpus.label_names, tokenizer, tokenize(corpus, tokenizer, dataset))


def step_ms(kind: str, shortcuts: Shortcuts, inputs: Inputs) -> float:
    """Train one phase, and return the median time of a step in milliseconds.

    Args:
        kind: one of KINDS.
        shortcuts: what shortens the steps.
        inputs: what the steps are trained on.
    """
    ends: list[float] = []

    def log_curves(entries: Mapping[str, float], step: int) -> None:
        ends.append(time.perf_counter())

    is_distilled = kind == DISTILLED_STEP
    labels, num_labels = inputs.tokens[TRAIN][LABELS], len(inputs.label_names)
    with tempfile.TemporaryDirectory() as folder:
        training_inputs = TrainingInputs(
            splits=with_teacher_logits(inputs) if is_distilled else inputs.tokens,
            tokenizer=inputs.tokenizer,
            collate=collator(inputs.tokenizer, inputs.dataset),
            loss=loss_function(LossConfig(), labels, num_labels, 0.0),
            distillation=inc_distillation(DistillationConfig("teacher")) if is_distilled else None,
            hidden_states_weight=0.0,
            checkpoints=Checkpoints(Path(folder), resumed=False, chosen=None),
            log_curves=log_curves,
            model=replace(MODEL, classification_token_only=shortcuts.classification_token_only),
        )
        start = load_model(MODEL, inputs.label_names)
        train(start, step_phase(kind, shortcuts), training_inputs, first_step=0)
    steps = zip(ends[WARM_UP_STEPS:], ends[WARM_UP_STEPS + 1 :], strict=False)
    return 1000 * statistics.median(after - before for before, after in steps)


def step_phase(kind: str, shortcuts: Shortcuts) -> Phase:
    """Describe the phase whose steps are timed: one epoch that logs every step.

    Args:
        kind: one of KINDS.
        shortcuts: what shortens the steps.
    """
    trainer = TrainerConfig(
        num_train_epochs=1,
        learning_rate=LEARNING_RATE,
        bf16=shortcuts.bf16,
        per_device_train_batch_size=BATCH_SIZE,
        eval_strategy="no",
        logging_steps=1,
        group_by_length=shortcuts.group_by_length,
        disable_tqdm=True,
    )
    recipe = QatConfig("step", fp32_op_types=["LayerNorm"])  # as in conf/qat/finetune_then_qat.yaml
    is_qat = kind == QAT_STEP
    quantization = qat_config(recipe, ()) if is_qat else None
    return Phase("step", trainer, PhaseConfig(is_qat), recipe, quantization, None)


def with_teacher_logits(inputs: Inputs) -> Tokens:
    """Put random logits of a teacher beside the tokens of train.

    Args:
        inputs: what the steps are trained on.
    """
    train_tokens = inputs.tokens[TRAIN]
    shape = (len(train_tokens), len(inputs.label_names))
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    answers = datasets.Dataset.from_dict({TEACHER_LOGITS: logits})
    return {**inputs.tokens, TRAIN: datasets.concatenate_datasets([train_tokens, answers], axis=1)}


if __name__ == "__main__":
    main()
