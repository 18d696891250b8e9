"""INT8 and sparsity in Neural Compressor's terms."""
