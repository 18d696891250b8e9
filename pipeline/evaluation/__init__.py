"""Measure what a model is worth: accuracy, calibration, time."""
