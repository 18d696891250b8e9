"""Train, quantize and compare INT8 text classifiers, with every run tracked in MLflow."""

__version__ = "0.1.0"
