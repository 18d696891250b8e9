from dataclasses import replace

import pytest

from pipeline.config.schema import (
    Config,
    DatasetConfig,
    DistillationConfig,
    ModelConfig,
    PhaseConfig,
    PostTrainingConfig,
    PruningConfig,
    QatConfig,
    SweepConfig,
    TrainerConfig,
)
from pipeline.tracking.run_names import (
    description,
    model_label,
    recipe_label,
    run_name,
    short_number,
)

CONFIG = Config(
    ModelConfig("assets/minilm", num_hidden_layers=2),
    DatasetConfig(name="reviews"),
    QatConfig(
        "finetune_then_qat",
        {"finetune": PhaseConfig(quantize=False), "qat": PhaseConfig(True, 1, 1e-4)},
    ),
    TrainerConfig(learning_rate=3e-4),
)


def test_a_run_is_named_by_model_corpus_recipe_and_learning_rate() -> None:
    assert run_name(CONFIG) == "minilm-2L·reviews·finetune_then_qat·lr3e-4"


def test_a_rate_that_follows_the_encoder_is_not_named() -> None:
    config = replace(CONFIG, trainer=TrainerConfig())
    assert run_name(config) == "minilm-2L·reviews·finetune_then_qat"


def test_a_job_is_named_by_every_other_swept_key_as_well() -> None:
    swept = ["trainer.seed", "trainer.learning_rate", "qat.phases.qat.learning_rate", "qat"]
    config = replace(CONFIG, sweep=SweepConfig(swept=swept))
    assert run_name(config).endswith("·lr3e-4·seed42·qat.lr1e-4")


def test_teacher_and_pruning_are_part_of_the_recipe() -> None:
    config = replace(
        CONFIG,
        distillation=DistillationConfig("https://me:secret@host/teacher"),
        pruning=PruningConfig("magnitude", target_sparsity=0.7),
    )
    assert recipe_label(config) == "finetune_then_qat+distillation+pruning"
    assert description(config).endswith(
        "recipe `finetune_then_qat`: finetune (FP32), then qat (INT8 QAT). Taught by "
        "`https://***@host/teacher`. Pruned by magnitude to a sparsity of 0.7."
    )


def test_post_training_quantization_is_described_after_the_phases() -> None:
    recipe = QatConfig(
        "ptq_static",
        {"finetune": PhaseConfig(quantize=False)},
        post_training=PostTrainingConfig("static"),
    )
    assert description(replace(CONFIG, qat=recipe)) == (
        "`assets/minilm` on `reviews`, recipe `ptq_static`: finetune (FP32), then post-training "
        "quantization (static, INT8)."
    )


@pytest.mark.parametrize(
    ("name_or_path", "layers", "label"),
    [("assets/minilm", 2, "minilm-2L"), ("prajjwal1/bert-tiny", None, "bert-tiny")],
)
def test_an_encoder_is_named_with_its_layers(
    name_or_path: str, layers: int | None, label: str
) -> None:
    assert model_label(name_or_path, layers) == label


@pytest.mark.parametrize(
    ("value", "text"), [(3e-4, "3e-4"), (1e-5, "1e-5"), (2.5e-4, "0.00025"), (0.5, "5e-1")]
)
def test_learning_rates_are_written_as_people_write_them(value: float, text: str) -> None:
    assert short_number(value) == text
