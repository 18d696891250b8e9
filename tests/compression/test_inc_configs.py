from dataclasses import replace

import pytest
from torch import nn

from pipeline.compression.inc_configs import (
    module_names,
    phases,
    post_training_config,
    qat_config,
    steps,
)
from pipeline.config.schema import (
    Config,
    PhaseConfig,
    PostTrainingConfig,
    PruningConfig,
    QatConfig,
    TrainerConfig,
)
from pipeline.errors import PipelineError

RECIPE = QatConfig(
    "finetune_then_qat",
    {
        "finetune": PhaseConfig(quantize=False),
        "qat": PhaseConfig(quantize=True, num_train_epochs=1, learning_rate=1e-4),
    },
)
CONFIG = Config(qat=RECIPE, trainer=TrainerConfig(num_train_epochs=3, learning_rate=3e-4, seed=7))
FP32 = {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}


def test_a_phase_takes_from_the_trainer_what_it_does_not_say() -> None:
    finetune, qat = phases(CONFIG, (), 100)
    assert (finetune.trainer.num_train_epochs, finetune.trainer.learning_rate) == (3, 3e-4)
    assert (qat.trainer.num_train_epochs, qat.trainer.learning_rate) == (1, 1e-4)
    assert finetune.trainer.seed == qat.trainer.seed == 7


def test_only_a_quantizing_phase_has_a_quantization_config() -> None:
    finetune, qat = phases(CONFIG, (), 100)
    assert finetune.quantization is None
    assert qat.quantization is not None


def test_the_first_phase_prunes_and_the_next_one_keeps_the_zeros() -> None:
    finetune, qat = phases(replace(CONFIG, pruning=PruningConfig("magnitude", "1x1", 0.7)), (), 320)
    assert finetune.pruning.weight_compression.pruning_type == "magnitude"
    assert finetune.pruning.weight_compression.end_step == 15, "half of 30 steps"
    assert qat.pruning.weight_compression.pruning_type == "pattern_lock"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 8),
        ({"num_train_epochs": 1.5}, 6),
        ({"gradient_accumulation_steps": 2}, 4),
        ({"max_steps": 5}, 5),
    ],
)
def test_steps_are_counted_as_the_trainer_does(options: dict[str, float], expected: int) -> None:
    assert steps(TrainerConfig(**{"num_train_epochs": 2, **options}), 100) == expected


def test_the_artifact_does_not_depend_on_the_bf16_of_the_cpu() -> None:
    assert qat_config(RECIPE, ()).excluded_precisions == ["bf16"]
    assert post_training_config(RECIPE, PostTrainingConfig("static"), ()).excluded_precisions == [
        "bf16"
    ]


def test_op_types_and_modules_that_stay_in_fp32_are_handed_to_neural_compressor() -> None:
    recipe = QatConfig("direct", {}, fp32_op_types=["Embedding"])
    for config in (
        qat_config(recipe, ("a.b",)),
        post_training_config(recipe, PostTrainingConfig("dynamic"), ("a.b",)),
    ):
        assert config.op_type_dict == {"Embedding": FP32}
        assert config.op_name_dict == {"a.b": FP32, "a.b.module": FP32}


def test_observers_and_tuning_of_post_training_quantization_are_as_asked_for() -> None:
    recipe = QatConfig("ptq_static", activation_scheme="sym")
    config = post_training_config(
        recipe, PostTrainingConfig("static", activation_algorithm="kl", tolerable_loss=0.02), ()
    )
    assert config.op_type_dict == {
        "Linear": {"activation": {"scheme": ["sym"], "algorithm": ["kl"]}}
    }
    assert (config.accuracy_criterion.criterion, config.accuracy_criterion.tolerable_loss) == (
        "absolute",
        0.02,
    )


def test_modules_are_named_by_pattern() -> None:
    layer = nn.ModuleDict({"query": nn.Linear(2, 2), "norm": nn.LayerNorm(2), "drop": nn.Dropout()})
    model = nn.ModuleDict(
        {"layer": nn.ModuleList([layer, nn.ModuleDict({"query": nn.Linear(2, 2)})])}
    )
    assert module_names(model, []) == ()
    assert module_names(model, ["layer.0"]) == ("layer.0.query", "layer.0.norm")
    assert module_names(model, ["*.query"]) == ("layer.0.query", "layer.1.query")
    with pytest.raises(
        PipelineError, match=r"layer.0.qery names no module .* did you mean layer.0.query"
    ):
        module_names(model, ["layer.0.qery"])
