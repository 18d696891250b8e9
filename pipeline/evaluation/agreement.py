"""Check that a stored or exported model answers as the model that was trained."""

import numpy as np

from pipeline.config.ranges import at_most
from pipeline.errors import PipelineError
from pipeline.evaluation.results import Result
from pipeline.evaluation.significance import mcnemar

# Eager attention repeats itself bit for bit on the same texts; the rest is room for another number
# of BLAS threads.
RELOAD_TOLERANCE = 1e-4
# Of McNemar's test between an export and the model that was trained. A run is lost by it, after all
# of its training: at 0.05, one export in forty that loses nothing would end one, and here it is one
# in two thousand.
EXPORT_SIGNIFICANCE = 0.001


def check_reload(variant: str, in_memory: np.ndarray, reloaded: np.ndarray) -> float:
    """Compare the answers of the model in memory and of the model from disk to the same texts.

    Args:
        variant: variant that the error names.
        in_memory: logits (rows, num_labels) of the model as trained.
        reloaded: logits (rows, num_labels) of the model from disk.

    Returns:
        The largest absolute difference between two logits.

    Raises:
        PipelineError: a predicted label differs, or a logit differs by more than RELOAD_TOLERANCE.
    """
    differing = int((in_memory.argmax(-1) != reloaded.argmax(-1)).sum())
    largest = float(np.abs(in_memory - reloaded).max())
    if differing or not largest <= RELOAD_TOLERANCE:
        raise PipelineError(
            f"the reloaded {variant} model is not the one that was trained: {differing} of "
            f"{len(reloaded)} predicted labels differ, logits by up to {largest:.3g} (at most "
            f"{RELOAD_TOLERANCE:g} is accepted)."
        )
    return largest


def check_export(
    exported: Result, trained: Result, validation_labels: np.ndarray, max_accuracy_loss: float
) -> None:
    """Compare an exported file with the model that was trained, on the validation split.

    Args:
        exported: result of the file in its runtime.
        trained: result of the PyTorch model in the same precision.
        validation_labels: true label ids, (rows,) int64.
        max_accuracy_loss: how much lower the file's accuracy may be.

    Raises:
        PipelineError: the export lost more accuracy than that, and more than chance explains: of a
            split of a thousand texts, five are half a percent.
    """
    right = exported.validation_predictions == validation_labels
    trained_right = trained.validation_predictions == validation_labels
    loss = float(trained_right.mean() - right.mean())
    p_value = mcnemar(right, trained_right)
    if not at_most(loss, max_accuracy_loss) and p_value < EXPORT_SIGNIFICANCE:
        differing = (exported.validation_predictions != trained.validation_predictions).mean()
        raise PipelineError(
            f"{exported.variant} has a validation accuracy of {right.mean():.4f}, {loss:.4f} below "
            f"{trained.variant} ({trained_right.mean():.4f}), which chance does not explain "
            f"(p = {p_value:.2g}); {differing:.2%} of the predictions differ. "
            f"At most export.max_accuracy_loss={max_accuracy_loss:g} is accepted."
        )


def disagreement(first: Result, second: Result) -> float:
    """Return the share of test texts that two artifacts label differently."""
    return float((first.predictions != second.predictions).mean())
