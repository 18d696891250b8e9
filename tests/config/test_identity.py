from dataclasses import replace
from typing import Any

import pytest

from pipeline.config.identity import (
    Ingredients,
    answers_key,
    comparable_params,
    config_hash,
    deciding_config,
    flatten,
    key_of,
    libraries,
    teacher_key,
    tokens_key,
    weights_identity,
)
from pipeline.config.schema import (
    BaselineConfig,
    Config,
    DatasetConfig,
    DistillationConfig,
    ExportConfig,
    LossConfig,
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
    baseline=BaselineConfig(),
    tracking=TrackingConfig("sqlite:///a.db"),
)
DIGESTS = {"train": "a" * 16, "validation": "b" * 16, "test": "c" * 16}
INGREDIENTS = Ingredients(DIGESTS, ("cold", "hot"), model="d" * 16)
TEACHING = replace(
    CONFIG, distillation=DistillationConfig("teacher"), loss=LossConfig(focal_gamma=1.0)
)


@pytest.mark.parametrize("baseline", [None, BaselineConfig(C=1.0)])
def test_another_baseline_or_none_is_another_config(baseline: BaselineConfig | None) -> None:
    assert config_hash(replace(CONFIG, baseline=baseline)) != config_hash(CONFIG)


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
    identity = weights_identity(CONFIG, INGREDIENTS)
    exported = replace(CONFIG, export=ExportConfig(["onnx_int8"]))
    saved = replace(CONFIG, trainer=replace(CONFIG.trainer, save_strategy="epoch", output_dir="x"))
    assert weights_identity(exported, INGREDIENTS) == identity
    assert weights_identity(saved, INGREDIENTS) == identity
    tested = replace(INGREDIENTS, digests={**DIGESTS, "test": "e" * 16})
    assert weights_identity(CONFIG, tested) == identity
    seeded = replace(CONFIG, trainer=replace(CONFIG.trainer, seed=1))
    assert weights_identity(seeded, INGREDIENTS) != identity
    best = replace(CONFIG, trainer=replace(CONFIG.trainer, load_best_model_at_end=True))
    often = replace(best, trainer=replace(best.trainer, save_steps=7))
    assert weights_identity(best, INGREDIENTS) != weights_identity(often, INGREDIENTS)


INGREDIENTS_ONE_BY_ONE = [
    (replace(INGREDIENTS, digests={**DIGESTS, "train": "e" * 16}), "the train split"),
    (replace(INGREDIENTS, digests={**DIGESTS, "validation": "e" * 16}), "the validation split"),
    (replace(INGREDIENTS, digests={**DIGESTS, "unlabelled": "e" * 16}), "the unlabelled split"),
    (replace(INGREDIENTS, label_names=("hot", "cold")), "the label names"),
    (replace(INGREDIENTS, model="e" * 16), "the pretrained model"),
    (replace(INGREDIENTS, teacher="e" * 16), "the teacher"),
]


@pytest.mark.parametrize(("other", "name"), INGREDIENTS_ONE_BY_ONE)
def test_each_ingredient_makes_another_run_another_checkpoint_and_another_teacher(
    other: Ingredients, name: str
) -> None:
    assert other.changed_since(INGREDIENTS.tags, INGREDIENTS.digests) == [name]
    assert weights_identity(CONFIG, other) != weights_identity(CONFIG, INGREDIENTS)
    assert answers_key(TEACHING, other) != answers_key(TEACHING, INGREDIENTS)
    trained = TEACHING.trainer
    is_same = teacher_key(TEACHING, other, trained) == teacher_key(TEACHING, INGREDIENTS, trained)
    assert is_same == ("unlabelled" in name), "a teacher is not trained on unlabelled texts"


def test_another_test_split_is_answered_by_the_same_teacher() -> None:
    other = replace(INGREDIENTS, digests={**DIGESTS, "test": "e" * 16})
    assert answers_key(TEACHING, other) != answers_key(TEACHING, INGREDIENTS)
    trained = TEACHING.trainer
    assert teacher_key(TEACHING, other, trained) == teacher_key(TEACHING, INGREDIENTS, trained)


def test_what_a_teacher_is_asked_changes_its_answers_and_not_the_teacher() -> None:
    trained, distillation = TEACHING.trainer, TEACHING.distillation
    assert distillation is not None
    for asked in (
        replace(distillation, transfer_texts=9),
        replace(distillation, hidden_states_weight=0.5),
    ):
        config = replace(TEACHING, distillation=asked)
        assert answers_key(config, INGREDIENTS) != answers_key(TEACHING, INGREDIENTS)
        same = teacher_key(TEACHING, INGREDIENTS, trained)
        assert teacher_key(config, INGREDIENTS, trained) == same


def test_another_loss_and_another_learning_rate_make_another_teacher() -> None:
    trained = TEACHING.trainer
    key = teacher_key(TEACHING, INGREDIENTS, trained)
    faster = replace(trained, learning_rate=0.5)
    assert teacher_key(TEACHING, INGREDIENTS, faster) != key
    focal = replace(TEACHING, loss=replace(TEACHING.loss, focal_gamma=2.0))
    assert teacher_key(focal, INGREDIENTS, trained) != key


@pytest.mark.parametrize(
    ("constant", "name"), [("FIGURES_VERSION", "the code"), ("libraries", "the libraries")]
)
def test_code_and_libraries_are_ingredients(
    constant: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags, checkpoint = INGREDIENTS.tags, weights_identity(CONFIG, INGREDIENTS)
    trained = TEACHING.trainer
    keys = teacher_key(TEACHING, INGREDIENTS, trained), answers_key(TEACHING, INGREDIENTS)
    value = "another" if constant == "FIGURES_VERSION" else lambda _: "torch 1.0"
    monkeypatch.setattr(f"pipeline.config.identity.{constant}", value)
    again = replace(INGREDIENTS)
    assert again.changed_since(tags, DIGESTS) == [name]
    assert weights_identity(CONFIG, again) != checkpoint
    assert teacher_key(TEACHING, again, trained) != keys[0]
    assert answers_key(TEACHING, again) != keys[1]


def test_a_run_of_version_0_1_0_had_other_code() -> None:
    assert "the code" in INGREDIENTS.changed_since({"pipeline.major": "0"}, DIGESTS)


def test_the_same_ingredients_have_not_changed() -> None:
    again = Ingredients(dict(DIGESTS), ["cold", "hot"], model="d" * 16)
    assert again.changed_since(INGREDIENTS.tags, dict(DIGESTS)) == []


TRAINER = TEACHING.trainer


@pytest.mark.parametrize(
    ("config", "trained"),
    [
        (TEACHING, replace(TRAINER, learning_rate=1e-6)),
        (TEACHING, replace(TRAINER, num_train_epochs=9)),
        (TEACHING, replace(TRAINER, seed=9)),
        (replace(TEACHING, loss=LossConfig(class_weights="balanced")), TRAINER),
        (
            replace(TEACHING, model=replace(TEACHING.model, classification_token_only=False)),
            TRAINER,
        ),
        (replace(TEACHING, dataset=replace(TEACHING.dataset, max_length=9)), TRAINER),
        (replace(TEACHING, dataset=replace(TEACHING.dataset, padding="max_length")), TRAINER),
        (replace(TEACHING, dataset=replace(TEACHING.dataset, text_pair_column="b")), TRAINER),
    ],
)
def test_what_decides_a_teachers_weights_is_in_their_key(
    config: Config, trained: TrainerConfig
) -> None:
    assert teacher_key(config, INGREDIENTS, trained) != teacher_key(TEACHING, INGREDIENTS, TRAINER)


@pytest.mark.parametrize("changes", [{"max_length": 9}, {"padding": "max_length"}])
def test_how_a_teacher_reads_a_text_is_in_its_answers_key(changes: dict[str, Any]) -> None:
    config = replace(TEACHING, dataset=replace(TEACHING.dataset, **changes))
    assert answers_key(config, INGREDIENTS) != answers_key(TEACHING, INGREDIENTS)


def test_what_decides_no_weight_of_a_teacher_is_not_in_their_key() -> None:
    key = teacher_key(TEACHING, INGREDIENTS, TRAINER)
    saving = replace(TRAINER, output_dir="x", save_strategy="epoch", disable_tqdm=True)
    assert teacher_key(TEACHING, INGREDIENTS, saving) == key
    student = replace(TEACHING, model=ModelConfig("another/student"), qat=QatConfig("none"))
    assert teacher_key(student, INGREDIENTS, TRAINER) == key


@pytest.mark.parametrize(
    ("config", "digests", "tokenizer"),
    [
        (replace(CONFIG.dataset, max_length=9), DIGESTS, ["a"]),
        (replace(CONFIG.dataset, text_pair_column="b"), DIGESTS, ["a"]),
        (CONFIG.dataset, {**DIGESTS, "test": "e" * 16}, ["a"]),
        (CONFIG.dataset, DIGESTS, ["a", "left"]),
    ],
)
def test_what_decides_tokens_is_in_their_key(
    config: DatasetConfig, digests: dict[str, str], tokenizer: list[str]
) -> None:
    assert tokens_key(config, digests, tokenizer) != tokens_key(CONFIG.dataset, DIGESTS, ["a"])


def test_the_versions_of_the_tokenizer_are_in_the_key_of_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = tokens_key(CONFIG.dataset, DIGESTS, ["a"])
    monkeypatch.setattr("pipeline.config.identity.version", lambda _: "0.1")
    assert tokens_key(CONFIG.dataset, DIGESTS, ["a"]) != key


def test_parts_of_a_key_are_told_apart_by_name() -> None:
    assert key_of({"a": "1", "b": ""}) != key_of({"a": "", "b": "1"})


def test_a_patch_of_a_library_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.config.identity.version", lambda _: "2.15.1")
    before = libraries(["torch"])
    monkeypatch.setattr("pipeline.config.identity.version", lambda _: "2.15.2")
    assert before == libraries(["torch"]) == "torch 2.15"
    assert libraries([]) == ""


def test_a_library_that_is_not_installed_is_left_out() -> None:
    assert libraries(["no-such-library"]) == ""


def test_a_config_is_flattened_to_dotted_keys_without_secrets() -> None:
    secret = replace(CONFIG, dataset=replace(CONFIG.dataset, path="https://me:secret@host/x"))
    flat = flatten(secret)
    assert flat["qat.phases.qat.quantize"] == "True"
    assert flat["dataset.path"] == "https://***@host/x"
    assert not [key for key in flat if key.startswith(("tracking", "sweep"))]
    assert deciding_config(CONFIG)["dataset"]["label_names"] == ["cold", "hot"]


def test_a_retired_key_does_not_tell_runs_apart_unless_it_was_used() -> None:
    params = {"trainer.seed": "1"}
    assert comparable_params({**params, "export.vocabulary": "full"}) == params
    assert "export.vocabulary" in comparable_params({"export.vocabulary": "corpus"})
    assert comparable_params({**params, "dataset.encoding": "None"}) == params, "nor an added one"
