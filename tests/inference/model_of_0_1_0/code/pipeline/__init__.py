"""Experiment-tracked quantization-aware training of INT8 text classifiers."""

__version__ = "0.1.0"
