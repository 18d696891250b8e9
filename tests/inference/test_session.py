import os
from pathlib import Path

import pytest

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
