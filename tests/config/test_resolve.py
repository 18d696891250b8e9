from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipeline.config.resolve import check_repeatable, read_logged, schema_keys, unknown_key
from pipeline.errors import PipelineError


def test_an_added_key_that_no_schema_has_is_refused_with_the_nearest() -> None:
    # Hydra itself refuses a + below a typed node; what is added as a whole dictionary shows here.
    assert "did you mean learning_rate" in unknown_key("qat.phases.qat.learning_rat")
    assert "did you mean dataset" in unknown_key("datset.path")


def test_every_key_of_the_schema_is_listed_with_its_parents() -> None:
    keys = schema_keys()
    assert {"model", "model.revision", "qat.phases.<name>.learning_rate"} <= set(keys)
    assert "distillation.temperature" in keys, "an optional group has its keys too"


def logged(folder: Path, text: str) -> Path:
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_config_of_0_1_0_is_read_without_its_retired_key(tmp_path: Path) -> None:
    folder = logged(tmp_path, "export: {vocabulary: full, ship: onnx_int8}\ntrainer: {seed: 7}\n")
    config = read_logged(folder)
    assert (config.export.ship, config.trainer.seed) == ("onnx_int8", 7)
    assert config.trainer.optim == "adamw_torch_fused", "a key that the file lacks has its default"
    assert "vocabulary" not in OmegaConf.to_container(config)["export"]
    check_repeatable(folder)


def test_a_run_that_used_a_retired_key_cannot_be_repeated(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="export.vocabulary=corpus, which is no longer there"):
        check_repeatable(logged(tmp_path, "export: {vocabulary: corpus}\n"))
