"""The MLflow model, as code: texts in, the label and every class's score out. MLflow runs this file to load the model."""

from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipeline.errors import PipelineError
from pipeline.runtime import TextClassifier, check_text, probabilities

MAX_TEXTS = 10_000  # of one request


class Classifier(PythonModel):
    """The deployed classifier behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model directory, which was logged as the artifact `model`."""
        self._classifier = TextClassifier(Path(context.artifacts["model"]))

    def predict(self, context: PythonModelContext, model_input: list[str], params: Any = None) -> list[dict[str, Any]]:
        """Classify texts.

        Args:
            context: MLflow's; unused.
            model_input: 1 to MAX_TEXTS texts; each is cut at the length of training.
            params: none are known.

        Returns:
            For each text its `label`, that label's `score`, and `scores` of all classes, which sum to 1.

        Raises:
            MlflowException: a request that is too long, or a text that is empty or too long; HTTP 400 when served.
        """
        if len(model_input) > MAX_TEXTS:
            raise MlflowException.invalid_parameter_value(
                f"{len(model_input):,} texts in one request; at most {MAX_TEXTS:,} are accepted."
            )
        try:
            for place, text in enumerate(model_input, start=1):
                check_text(text, f"text {place}")
            scores = probabilities(self._classifier.logits(model_input)).astype(float)
        except PipelineError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        names = self._classifier.label_names
        return [
            {"label": names[row.argmax()], "score": row.max(), "scores": dict(zip(names, row, strict=True))} for row in scores
        ]


mlflow.models.set_model(Classifier())
