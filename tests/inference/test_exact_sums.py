"""The runtime is asked whether its sums are exact, and slowed down only where they are not."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pipeline.inference import session
from pipeline.inference.exact_sums import PRODUCT, sums_are_exact


def test_the_probe_is_the_graph_that_onnx_builds() -> None:
    given = {"a": (TensorProto.UINT8, ["m", "k"]), "b": (TensorProto.INT8, ["k", "n"])}
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info(name, *kind) for name, kind in given.items()],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["m", "n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert model.SerializeToString() == PRODUCT
    onnx.checker.check_model(model)


def test_a_sum_that_was_cut_off_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cutting:
        def __init__(self, *_: object, **__: object) -> None: ...

        def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            a, b = inputs["a"].astype(int), inputs["b"].astype(int)
            pairs = a[:, ::2, None] * b[None, ::2] + a[:, 1::2, None] * b[None, 1::2]
            return [np.minimum(pairs, 2**15 - 1).sum(1)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Cutting)
    assert not sums_are_exact.__wrapped__()


@pytest.mark.parametrize("exact", [True, False])
def test_exact_sums_are_asked_for_where_the_runtime_has_none_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    asked: list[bool] = []

    def opened(_: str, options: onnxruntime.SessionOptions, **__: object) -> object:
        try:
            asked.append(options.get_session_config_entry(session.EXACT_SUMS) == "1")
        except RuntimeError:  # there is no such entry
            asked.append(False)
        return object()

    (tmp_path / "model.onnx").touch()
    monkeypatch.setattr(session, "sums_are_exact", lambda: exact)
    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    session.open_session(tmp_path, 1)
    assert asked == [not exact]
