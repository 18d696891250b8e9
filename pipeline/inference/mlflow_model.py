"""Answer MLflow's requests with a deployed classifier; MLflow runs this file to load the model.

`mlflow models serve` does; the commands of this package load the classifier without it.
"""

import os
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipeline.errors import PipelineError
from pipeline.inference.classifier import TextClassifier
from pipeline.inference.texts import check_texts


class Classifier(PythonModel):
    """Put the deployed classifier behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model directory, which was logged as the artifact `model`."""
        self._classifier = TextClassifier(Path(context.artifacts["model"]), _threads())

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: Any = None
    ) -> list[dict[str, Any]]:
        """Classify texts.

        Args:
            context: MLflow's context; unused.
            model_input: 1 to MAX_TEXTS texts; each is cut at the length of training.
            params: MLflow's parameters; unused.

        Returns:
            For each text its `label`, that label's `score`, and the `scores` of all classes, which
            sum to 1.

        Raises:
            MlflowException: the request has too many texts, or a text is empty or too long; HTTP
                400 when served.
        """
        try:
            check_texts(model_input)
            return self._classifier.answers(self._classifier.logits(model_input))
        except PipelineError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def _threads() -> int:
    """Return how many threads a process may have by OMP_NUM_THREADS; 0 if that does not say.

    Spark sets it to a task's share of the machine: each of its tasks has a process of its own.
    """
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdecimal() else 0


mlflow.models.set_model(Classifier())
