"""Quantize to INT8 and prune weights, in Neural Compressor's terms."""
