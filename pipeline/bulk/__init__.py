"""Classify texts without end: lines, and tables larger than memory in parts that survive."""
