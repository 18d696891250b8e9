import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import PipelineError
from pipeline.inference.session import import_openvino, open_session, refuse_pickles


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "training_args.bin",
        "model.pt",
        "nested/code.pkl",
        "x.joblib",
        "last.CKPT",
    ],
)
def test_a_pickle_anywhere_in_a_directory_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(PipelineError, match=f"holds {Path(name).name}, a pickle"):
        refuse_pickles(tmp_path)


def test_a_directory_that_is_no_model_is_not_searched(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.pkl").touch()
    with pytest.raises(PipelineError, match="holds neither"):
        open_session(tmp_path)


def test_openvinos_weights_are_no_pickle(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.bin").touch()
    refuse_pickles(tmp_path)


def test_a_directory_without_a_model_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        PipelineError,
        match=r"holds neither model.onnx nor openvino_model.xml; it holds: notes.txt.",
    ):
        open_session(tmp_path)


def write_products(directory: Path, weight: np.ndarray, products: int) -> None:
    """Write a model that multiplies its ids with a weight, and adds several such products."""
    terms, classes = weight.shape
    names = [f"sums{number}" for number in range(products)]
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["bytes"], to=TensorProto.UINT8),
        *(helper.make_node("MatMulInteger", ["bytes", "weight"], [name]) for name in names),
        *(
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT)
            for name in names
        ),
        helper.make_node("Sum", [f"{name}_float" for name in names], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, terms])
        for name in ("input_ids", "attention_mask")
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])
    graph = helper.make_graph(
        nodes, "sums", inputs, [logits], [numpy_helper.from_array(weight, "weight")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, directory / "model.onnx")


def test_sums_of_products_of_bytes_are_exact_on_every_cpu(tmp_path: Path) -> None:
    """A CPU with AVX2 and no VNNI adds pairs in 16 bits: 2 * 255 * 127 would be cut to 32,767."""
    terms = 64
    weight = np.full((terms, 3), 127, np.int8)
    weight[:, 1] = -127
    write_products(tmp_path, weight, products=1)
    ids = np.full((1, terms), 255, np.int64)
    sums = open_session(tmp_path, 1)(ids, np.ones_like(ids))
    assert sums.tolist() == [[255 * 127 * terms, -255 * 127 * terms, 255 * 127 * terms]]


def test_a_model_from_elsewhere_may_share_a_weight(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weight = np.full((64, 3), 127, np.int8)
    write_products(tmp_path, weight, products=2)
    ids = np.ones((1, 64), np.int64)
    assert open_session(tmp_path, 1)(ids, ids).tolist() == [[2 * 127 * 64] * 3]
    assert not capfd.readouterr().err, "the runtime's own complaint"


def test_openvino_does_without_amx_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    import_openvino()
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_FP16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    import_openvino()
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_openvino_takes_arrays_of_any_layout(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    ops = openvino.opset13
    given = []
    for name in ("input_ids", "attention_mask"):
        given.append(ops.parameter([-1, -1], openvino.Type.i64, name=name))
        given[-1].output(0).set_names({name})
    product = ops.convert(ops.multiply(*given), openvino.Type.f32)
    openvino.save_model(
        openvino.Model([ops.reduce_sum(product, 1, keep_dims=True)], given),
        tmp_path / "openvino_model.xml",
    )
    run = open_session(tmp_path, 1)
    wide = np.arange(32, dtype=np.int64).reshape(2, 16)
    read_only = wide[:, :8].copy()
    read_only.setflags(write=False)
    for ids in (
        wide[:, :8],
        wide[:, ::2],
        np.asfortranarray(wide),
        wide.astype(np.int32),
        read_only,
    ):
        assert run(ids, np.ones_like(ids)).tolist() == ids.sum(1, keepdims=True).tolist()


def test_a_directory_that_cannot_be_read_is_one_line(closed: Path) -> None:
    with pytest.raises(PipelineError, match="closed cannot be read: Permission denied"):
        open_session(closed)
    for missing in (closed / "model", Path("x" * 300)):
        with pytest.raises(PipelineError, match=f"{missing} is not a directory"):
            open_session(missing)
