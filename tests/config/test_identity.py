from dataclasses import replace

import pytest

from pipeline.config.identity import (
    config_hash,
    deciding_config,
    flatten,
    major_version,
    weights_identity,
    without_retired_defaults,
)
from pipeline.config.schema import (
    Config,
    DatasetConfig,
    ExportConfig,
    ModelConfig,
    PhaseConfig,
    QatConfig,
    SweepConfig,
    TrackingConfig,
    TrainerConfig,
)

CONFIG = Config(
    ModelConfig("owner/bert-micro", num_hidden_layers=2),
    DatasetConfig(name="micro", path="owner/micro", label_names=["cold", "hot"]),
    QatConfig("direct", {"qat": PhaseConfig(quantize=True)}),
    TrainerConfig(),
    tracking=TrackingConfig("sqlite:///a.db"),
)
DIGESTS = {"train": "a" * 16, "validation": "b" * 16, "test": "c" * 16}


def test_the_hash_of_a_config_is_that_of_version_0_1_0() -> None:
    assert config_hash(CONFIG) == "9140a5765012a751", "a sweep begun before goes on"


@pytest.mark.parametrize(
    "same",
    [
        replace(CONFIG, tracking=TrackingConfig("http://host")),
        replace(CONFIG, sweep=SweepConfig(name="small", parent_run_id="1")),
        replace(CONFIG, objective=["loss"]),
        replace(CONFIG, trainer=replace(CONFIG.trainer, output_dir="x", disable_tqdm=True)),
    ],
)
def test_storage_sweep_and_progress_bar_change_no_hash(same: Config) -> None:
    assert config_hash(same) == config_hash(CONFIG)


@pytest.mark.parametrize(
    "other",
    [
        replace(CONFIG, model=replace(CONFIG.model, num_hidden_layers=1)),
        replace(CONFIG, dataset=replace(CONFIG.dataset, label_names=["hot", "cold"])),
        replace(CONFIG, trainer=replace(CONFIG.trainer, seed=1)),
        replace(CONFIG, export=ExportConfig(["onnx_int8"])),
    ],
)
def test_what_decides_a_figure_changes_the_hash(other: Config) -> None:
    assert config_hash(other) != config_hash(CONFIG)


def test_checkpoints_are_known_by_training_and_data_but_not_by_exports_or_saving() -> None:
    identity = weights_identity(CONFIG, DIGESTS)
    exported = replace(CONFIG, export=ExportConfig(["onnx_int8"]))
    saved = replace(CONFIG, trainer=replace(CONFIG.trainer, save_strategy="epoch", output_dir="x"))
    assert weights_identity(exported, DIGESTS) == identity
    assert weights_identity(saved, DIGESTS) == identity
    assert weights_identity(CONFIG, {**DIGESTS, "test": "d" * 16}) == identity
    assert weights_identity(CONFIG, {**DIGESTS, "train": "d" * 16}) != identity
    seeded = replace(CONFIG, trainer=replace(CONFIG.trainer, seed=1))
    assert weights_identity(seeded, DIGESTS) != identity


def test_a_config_is_flattened_to_dotted_keys_without_secrets() -> None:
    secret = replace(CONFIG, dataset=replace(CONFIG.dataset, path="https://me:secret@host/x"))
    flat = flatten(secret)
    assert flat["qat.phases.qat.quantize"] == "True"
    assert flat["dataset.path"] == "https://***@host/x"
    assert not [key for key in flat if key.startswith(("tracking", "sweep"))]
    assert deciding_config(CONFIG)["dataset"]["label_names"] == ["cold", "hot"]


def test_the_major_version_is_the_first_number() -> None:
    assert major_version() == "0"


def test_a_retired_key_does_not_tell_runs_apart_unless_it_was_used() -> None:
    params = {"trainer.seed": "1"}
    assert without_retired_defaults({**params, "export.vocabulary": "full"}) == params
    assert "export.vocabulary" in without_retired_defaults({"export.vocabulary": "corpus"})
