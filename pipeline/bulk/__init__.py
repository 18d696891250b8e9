"""Classify tables that are larger than memory, in parts that survive an interruption."""
