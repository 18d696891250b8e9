"""Keep the name that models logged before the rooms import; they are served until version 1.0."""

from pipeline.inference.classifier import TextClassifier, probabilities
from pipeline.inference.texts import check_text

__all__ = ["TextClassifier", "check_text", "probabilities"]
