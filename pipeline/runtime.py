"""Keep the name that models logged by 0.1.0 import; they are served until the next major version."""

from pipeline.inference.classifier import TextClassifier, check_text, probabilities

__all__ = ["TextClassifier", "check_text", "probabilities"]
