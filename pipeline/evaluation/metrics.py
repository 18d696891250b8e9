"""A model and a tokenized split to logits, and logits to accuracy, loss and macro F1."""

from dataclasses import dataclass

import datasets
import evaluate
import numpy as np
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from pipeline.data.corpus import Collate
from pipeline.errors import PipelineError
from pipeline.evaluation.significance import mcnemar
from pipeline.models.artifact import Artifact

NOT_FOR_MODELS = ("labels", "length", "num_tokens", "teacher_logits")
SIGNIFICANCE = 0.05  # of McNemar's test between an export and the model that was trained
ROUNDING = 1e-9  # 0.693 - 0.688 is a little more than 0.005
# A subclass each, because evaluate.load("accuracy") downloads a script from the Hub and runs it.
_FEATURES = datasets.Features(
    {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
)


class Accuracy(evaluate.Metric):
    """Share of rows whose predicted label is the true one (sklearn.metrics.accuracy_score)."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=str(self.__doc__), citation="", features=_FEATURES)

    def _compute(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}


class MacroF1(evaluate.Metric):
    """Unweighted mean over classes of the F1 score (sklearn.metrics.f1_score, average="macro")."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=str(self.__doc__), citation="", features=_FEATURES)

    def _compute(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        return {
            "f1_macro": float(f1_score(references, predictions, average="macro", zero_division=0.0))
        }


@dataclass(frozen=True)
class Metrics:
    """Figures of one model on one split.

    Args:
        accuracy: share of right labels, 0 to 1.
        loss: mean cross-entropy in nats.
        f1_macro: unweighted mean over classes of F1, 0 to 1.
        confusion: (num_labels, num_labels), int64; rows are true labels, columns predicted ones.
    """

    accuracy: float
    loss: float
    f1_macro: float
    confusion: np.ndarray

    @property
    def scalars(self) -> dict[str, float]:
        """The figures that are single numbers, by their names in MLflow."""
        return {"accuracy": self.accuracy, "loss": self.loss, "f1_macro": self.f1_macro}


@dataclass(frozen=True)
class Result:
    """A stored artifact and what its files answered on the test split.

    Args:
        artifact: where it is stored.
        logits: (test rows, num_labels), float32, in the order of the split.
        metrics: the figures of these logits.
    """

    artifact: Artifact
    logits: np.ndarray
    metrics: Metrics

    @property
    def variant(self) -> str:
        """The prefix of its figures."""
        return self.artifact.variant

    @property
    def predictions(self) -> np.ndarray:
        """Predicted label ids, (test rows,)."""
        predicted: np.ndarray = self.logits.argmax(axis=-1)
        return predicted


def check_export(
    exported: Result, trained: Result, labels: np.ndarray, max_accuracy_loss: float
) -> float:
    """Compare an exported file with the model that was trained.

    Args:
        exported: from a runtime.
        trained: from torch, in the same precision.
        labels: (rows,), int64.
        max_accuracy_loss: by how much its accuracy may be lower.

    Returns:
        The share of rows that the two label differently.

    Raises:
        PipelineError: the export lost more accuracy than that, and more than chance explains: on a test split of a thousand
            texts, a handful of them is half a percent.
    """
    lost = trained.metrics.accuracy - exported.metrics.accuracy
    differing = float((exported.predictions != trained.predictions).mean())
    p_value = mcnemar(exported.predictions == labels, trained.predictions == labels)
    if lost > max_accuracy_loss + ROUNDING and p_value < SIGNIFICANCE:
        raise PipelineError(
            f"{exported.variant} has a test accuracy of {exported.metrics.accuracy:.4f}, {lost:.4f} below {trained.variant} "
            f"({trained.metrics.accuracy:.4f}), which chance does not explain (p = {p_value:.2g}); {differing:.2%} of the "
            f"predictions differ. At most export.max_accuracy_loss={max_accuracy_loss:g} is accepted."
        )
    return differing


def score(logits: np.ndarray, labels: np.ndarray) -> Metrics:
    """Compute the figures of a split.

    Args:
        logits: (rows, num_labels), float32.
        labels: (rows,), int64.
    """
    predictions = logits.argmax(axis=-1)
    figures = label_metrics(predictions, labels)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    confusion = confusion_matrix(labels, predictions, labels=np.arange(logits.shape[1]))
    return Metrics(figures["accuracy"], float(loss), figures["f1_macro"], confusion)


def split_figures(
    model: torch.nn.Module, rows: datasets.Dataset, collate: Collate, batch_size: int
) -> dict[str, float]:
    """Run a model over a tokenized split (see predict_logits) to accuracy, loss and macro F1."""
    return score(
        predict_logits(model, rows, collate, batch_size), np.asarray(rows["labels"])
    ).scalars


def label_metrics(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and macro F1 through evaluate; predictions and labels are (rows,), int64."""
    metrics = evaluate.combine([Accuracy(), MacroF1()])
    result: dict[str, float] = metrics.compute(predictions=predictions, references=labels)
    return result


def predict_logits(
    model: torch.nn.Module, rows: datasets.Dataset, collate: Collate, batch_size: int
) -> np.ndarray:
    """Run the model over a tokenized split.

    Rows are batched by length, so that little is padded, and put back in order.

    Args:
        model: a sequence classifier, FP32 or INT8, on the CPU.
        rows: from data.tokenize.
        collate: pads a list of rows to tensors.
        batch_size: rows at a time.

    Returns:
        Logits, (rows, num_labels), float32.
    """
    order = np.argsort(np.asarray(rows["length"]), kind="stable")
    inputs = rows.select_columns([name for name in rows.column_names if name not in NOT_FOR_MODELS])
    chunks = []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            batch = inputs[order[start : start + batch_size]]
            features = [
                dict(zip(batch, values, strict=True))
                for values in zip(*batch.values(), strict=True)
            ]
            chunks.append(model(**collate(features)).logits.numpy())
    logits = np.concatenate(chunks)
    restored = np.empty_like(logits)
    restored[order] = logits
    return restored
