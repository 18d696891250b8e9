"""Run a model over a tokenized split, and score its logits: accuracy, loss and macro F1."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import datasets
import evaluate
import numpy as np
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from pipeline.data.tokens import LABELS, LENGTH, NUM_TOKENS, Collate, integers
from pipeline.names import ACCURACY, F1_MACRO, LOSS

TEACHER_LOGITS = "teacher_logits"  # column that distillation adds to train
TEACHER_HIDDEN_STATE = "teacher_hidden_state"  # the same, of the classification token
NOT_FOR_MODELS = (LABELS, LENGTH, NUM_TOKENS, TEACHER_LOGITS, TEACHER_HIDDEN_STATE)
_FEATURES = datasets.Features(
    {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
)


# Subclasses, because evaluate.load("accuracy") downloads a script from the Hub and runs it.
class Accuracy(evaluate.Metric):
    """Share of rows whose predicted label is the true one (sklearn.metrics.accuracy_score)."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=str(self.__doc__), citation="", features=_FEATURES)

    def _compute(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        return {ACCURACY: float(accuracy_score(references, predictions))}


class MacroF1(evaluate.Metric):
    """Unweighted mean of the classes' F1 (sklearn.metrics.f1_score, average="macro").

    The mean is over the classes that the true labels hold, so that all models are averaged over the
    same classes, whatever they answer.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=str(self.__doc__), citation="", features=_FEATURES)

    def _compute(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        f1 = f1_score(
            references,
            predictions,
            labels=np.unique(references),
            average="macro",
            zero_division=0.0,
        )
        return {F1_MACRO: float(f1)}


@dataclass(frozen=True)
class Metrics:
    """Figures of one model on one split.

    Args:
        accuracy: share of right labels, 0 to 1.
        loss: mean cross-entropy in nats.
        f1_macro: unweighted mean of the F1 of the classes that occur, 0 to 1.
        confusion: counts (num_labels, num_labels), int64; rows are true labels, columns predicted
            ones.
    """

    accuracy: float
    loss: float
    f1_macro: float
    confusion: np.ndarray

    @property
    def scalars(self) -> dict[str, float]:
        """The figures that are single numbers, by their names in MLflow."""
        return {ACCURACY: self.accuracy, LOSS: self.loss, F1_MACRO: self.f1_macro}


@dataclass(frozen=True)
class Evaluator:
    """Run models over one tokenized split.

    Args:
        rows: split from data.tokens.tokenize.
        collate: pads a list of rows to tensors.
        batch_size: rows at a time.
    """

    rows: datasets.Dataset
    collate: Collate
    batch_size: int

    @property
    def labels(self) -> np.ndarray:
        """True label ids, (rows,) int64."""
        return integers(self.rows, LABELS)

    def logits(self, model: torch.nn.Module) -> np.ndarray:
        """Run a model over the split.

        Args:
            model: sequence classifier, FP32 or INT8, on the CPU.

        Returns:
            Logits, (rows, num_labels), float32.
        """
        return self.outputs(model, lambda inputs: model(**inputs).logits)

    def outputs(
        self, model: torch.nn.Module, compute: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
    ) -> np.ndarray:
        """Compute something of each text with a model.

        Rows are batched by length, so that little is padded, and put back in order.

        Args:
            model: sequence classifier, FP32 or INT8, on the CPU; it is set to evaluate.
            compute: takes the model's inputs of a batch; returns (batch, ...).

        Returns:
            The results, (rows, ...), float32.
        """
        order = np.argsort(integers(self.rows, LENGTH), kind="stable")
        inputs = model_inputs(self.rows)
        chunks = []
        model.eval()
        with torch.inference_mode():
            for start in range(0, len(order), self.batch_size):
                batch = inputs[order[start : start + self.batch_size]]
                features = [
                    dict(zip(batch, values, strict=True))
                    for values in zip(*batch.values(), strict=True)
                ]
                chunks.append(compute(self.collate(features)).float().numpy())
        results = np.concatenate(chunks)
        restored = np.empty_like(results)
        restored[order] = results
        return restored

    def metrics(self, model: torch.nn.Module) -> Metrics:
        """Run a model over the split and score it."""
        return score(self.logits(model), self.labels)

    def figures(self, model: torch.nn.Module) -> dict[str, float]:
        """Run a model over the split to accuracy, loss and macro F1 by name."""
        return self.metrics(model).scalars


def model_inputs(rows: datasets.Dataset) -> datasets.Dataset:
    """Select the columns of a tokenized split that a model takes."""
    return rows.select_columns([name for name in rows.column_names if name not in NOT_FOR_MODELS])


def score(logits: np.ndarray, labels: np.ndarray) -> Metrics:
    """Compute the figures of a split.

    Args:
        logits: logits (rows, num_labels), float32.
        labels: true label ids, (rows,) int64.
    """
    predictions = logits.argmax(axis=-1)
    figures = label_metrics(predictions, labels)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    confusion = confusion_matrix(labels, predictions, labels=np.arange(logits.shape[1]))
    return Metrics(figures[ACCURACY], float(loss), figures[F1_MACRO], confusion)


def label_metrics(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute accuracy and macro F1 through evaluate.

    Args:
        predictions: predicted label ids, (rows,) int64.
        labels: true label ids, (rows,) int64.
    """
    # evaluate 0.4 wants a folder even for a metric that it keeps in memory; the default is in HOME.
    with tempfile.TemporaryDirectory(prefix="pipeline-") as folder:
        kept = {"keep_in_memory": True, "cache_dir": folder}
        metrics = evaluate.combine([Accuracy(**kept), MacroF1(**kept)])
    result: dict[str, float] = metrics.compute(predictions=predictions, references=labels)
    return result
