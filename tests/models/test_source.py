import os
import shutil
from pathlib import Path

import pytest

from pipeline.config.schema import DistillationConfig, ModelConfig
from pipeline.models.source import is_commit, model_version, teacher_version

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def directory(micro_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(micro_model, tmp_path / "model")
    return tmp_path / "model"


def version(directory: Path) -> str:
    return model_version(ModelConfig(str(directory)))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_weights_config_and_tokenizer_of_a_directory_make_its_version(
    directory: Path, name: str
) -> None:
    before = version(directory)
    assert len(before) == 16
    content = bytearray((directory / name).read_bytes())
    content[-1] ^= 1
    (directory / name).write_bytes(content)
    assert version(directory) != before


def test_what_is_not_loaded_makes_no_other_version(directory: Path) -> None:
    before = version(directory)
    (directory / "README.md").write_text("about")
    (directory / "pytorch_model.bin").write_bytes(b"the same weights in another format")
    os.utime(directory / "config.json", (0, 0))
    assert version(directory) == before
    assert version(shutil.copytree(directory, directory.with_name("copy"))) == before


def test_weights_are_the_file_that_is_loaded_whatever_lies_beside_it(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "adapter.safetensors")
    (directory / "pytorch_model.bin").write_bytes(b"weights")
    before = version(directory)
    (directory / "pytorch_model.bin").write_bytes(b"other weights")
    assert version(directory) != before


def test_the_version_of_a_model_of_the_hub_is_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--owner--bert" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (tmp_path / "models--owner--bert" / "refs").mkdir()
    (tmp_path / "models--owner--bert" / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert model_version(ModelConfig("owner/bert")) == COMMIT
    assert is_commit(COMMIT)
    assert model_version(ModelConfig("owner/other")) == ""


def test_a_teacher_is_its_model_or_the_run_that_trained_it(directory: Path) -> None:
    assert teacher_version(None) == ""
    assert teacher_version(DistillationConfig("f" * 32)) == "f" * 32
    assert teacher_version(DistillationConfig(str(directory))) == version(directory)
    assert not is_commit(version(directory))
