"""Ask ONNX Runtime whether it adds up products of bytes exactly on this CPU."""

from functools import cache

import numpy as np

# An ONNX graph of one MatMulInteger: a (m, k) uint8, b (k, n) int8, y (m, n) int32. What serves a
# model has no onnx to build it with; the test does.
PRODUCT = (
    b'\x08\x08:b\n\x18\n\x01a\n\x01b\x12\x01y"\rMatMulInteger\x12\x01g'
    b"Z\x15\n\x01a\x12\x10\n\x0e\x08\x02\x12\n\n\x03\x12\x01m\n\x03\x12\x01k"
    b"Z\x15\n\x01b\x12\x10\n\x0e\x08\x03\x12\n\n\x03\x12\x01k\n\x03\x12\x01n"
    b"b\x15\n\x01y\x12\x10\n\x0e\x08\x06\x12\n\n\x03\x12\x01m\n\x03\x12\x01nB\x04\n\x00\x10\r"
)
UNSIGNED_MAX, SIGNED_MAX = 255, 127


@cache
def sums_are_exact() -> bool:
    """Multiply the largest bytes, and compare the sum.

    onnxruntime 1.32 adds products of an unsigned and a signed byte in 16 bits on a CPU that has
    AVX2 and no VNNI, and cuts off what does not fit.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(PRODUCT, options, providers=["CPUExecutionProvider"])
    a = np.full((4, 64), UNSIGNED_MAX, np.uint8)
    b = np.full((64, 16), SIGNED_MAX, np.int8)
    (sums,) = session.run(None, {"a": a, "b": b})
    return bool((sums == a.astype(np.int32) @ b.astype(np.int32)).all())
