"""Collect Neural Compressor's Mixed Precision Statistics as data."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from neural_compressor.adaptor import pytorch as inc_adaptor


@dataclass(frozen=True)
class OpStatistics:
    """A row of the Mixed Precision Statistics: how many ops of a type run in which precision."""

    op_type: str
    total: int
    int8: int
    bf16: int
    fp32: int


@contextlib.contextmanager
def captured_statistics() -> Iterator[list[OpStatistics]]:
    """Collect the rows that Neural Compressor 3.7 only prints, while the block converts a model.

    PyTorch_FXAdaptor._dump_model_op_stats hands them to `Statistics(rows, header,
    field_names).print_stat()`; no attribute keeps them. The class is replaced for the time of the
    block.

    Yields:
        The rows of the last conversion so far.
    """
    rows: list[OpStatistics] = []

    class _Collected:
        def __init__(self, data: list[list[Any]], header: str, field_names: list[str]) -> None:
            rows.clear()
            for line in data:
                by_name = dict(zip(field_names, line, strict=True))
                rows.append(
                    OpStatistics(
                        op_type=str(line[0]),
                        total=int(by_name["Total"]),
                        int8=int(by_name.get("INT8", 0)),
                        bf16=int(by_name.get("BF16", 0)),
                        fp32=int(by_name.get("FP32", 0)),
                    )
                )

        def print_stat(self) -> None:
            """Print nothing: reports.results shows the table once, with the run's others."""

    original = inc_adaptor.Statistics
    inc_adaptor.Statistics = _Collected
    try:
        yield rows
    finally:
        inc_adaptor.Statistics = original
