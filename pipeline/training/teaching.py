"""Hold what a teacher says, and put it beside the rows that a model is trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
from neural_compressor import DistillationConfig as IncDistillationConfig
from neural_compressor.config import KnowledgeDistillationLossConfig
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from pipeline.config.schema import DistillationConfig
from pipeline.data.corpus import Corpus
from pipeline.data.tokens import LABELS, Tokens
from pipeline.data.transfer import TRANSFER
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import TEACHER_HIDDEN_STATE, TEACHER_LOGITS
from pipeline.evaluation.results import Result
from pipeline.models.load import Pretrained
from pipeline.names import TRAIN, UNLABELLED


@dataclass(frozen=True)
class Teaching:
    """The answers of a teacher.

    Args:
        answers: what it says of train, of the unlabelled texts and of the transfer texts, one after
            the other: a dataset with the column teacher_logits, and teacher_hidden_state if that is
            taught, mapped into memory.
        result: the teacher itself, and what it says of validation and test.
        student: layers of the teacher under its head, to be trained; None if the trained model
            starts from another checkpoint.
        transfer: texts that it was asked beside train; None without any.
    """

    answers: datasets.Dataset
    result: Result
    student: Pretrained | None
    transfer: Corpus | None = None

    @property
    def transfer_rows(self) -> int:
        """Number of transfer texts."""
        return 0 if self.transfer is None else len(self.transfer.splits[TRANSFER])

    def check_width(self, model: PreTrainedModel) -> None:
        """Make sure that a model has hidden states as wide as those that are taught.

        Raises:
            PipelineError: they are of another width.
        """
        if TEACHER_HIDDEN_STATE not in self.answers.column_names:
            return
        width, own = len(self.answers[0][TEACHER_HIDDEN_STATE]), model.config.hidden_size
        if width != own:
            raise PipelineError(
                f"distillation.hidden_states_weight needs a teacher as wide as the model: the "
                f"teacher's hidden states are {width} wide, the model's {own}; 0 leaves them out."
            )

    def join(self, tokens: Tokens, tokenize_corpus: Callable[[Corpus], Tokens]) -> datasets.Dataset:
        """Put the answers beside the tokens of train, of the unlabelled and of the transfer texts.

        The last two have the teacher's labels.

        Args:
            tokens: tokens of the corpus.
            tokenize_corpus: turns the transfer texts into tokens of the trained model.
        """
        train = tokens[TRAIN]
        labelled_here = [tokens[UNLABELLED]] if UNLABELLED in tokens else []
        if self.transfer is not None:
            labelled_here.append(tokenize_corpus(self.transfer)[TRANSFER])
        if labelled_here:
            rows = datasets.concatenate_datasets(labelled_here).remove_columns(LABELS)
            logits = self.answers.select_columns(TEACHER_LOGITS).with_format("numpy")[len(train) :]
            labels = np.argmax(logits[TEACHER_LOGITS], axis=-1)
            rows = rows.add_column(LABELS, labels).cast(train.features)
            train = datasets.concatenate_datasets([train, rows.select_columns(train.column_names)])
        return datasets.concatenate_datasets([train, self.answers], axis=1)


def inc_distillation(config: DistillationConfig) -> IncDistillationConfig:
    """Build Neural Compressor's config; a name stands for the teacher, whose logits are on disk.

    Args:
        config: the distillation group.
    """
    criterion = KnowledgeDistillationLossConfig(
        temperature=config.temperature,
        loss_types=["CE", "CE"],
        loss_weights=list(config.loss_weights),
    )
    placeholder = _Placeholder(Path(config.teacher).name)
    return IncDistillationConfig(teacher_model=placeholder, criterion=criterion)


class _Placeholder(nn.Module):
    """Stand for a teacher that need not be in memory.

    INCTrainer (optimum-intel 1.27) wants a module with a config.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.config = PretrainedConfig(name_or_path=name)
