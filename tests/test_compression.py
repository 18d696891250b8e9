from pipeline.compression import phases, quantization_config
from pipeline.config import PhaseConfig, QatConfig, TrainerConfig

RECIPE = QatConfig(
    "finetune_then_qat",
    {"finetune": PhaseConfig(quantize=False), "qat": PhaseConfig(quantize=True, num_train_epochs=1, learning_rate=1e-4)},
)


def test_a_phase_takes_from_the_trainer_what_it_does_not_say() -> None:
    trainer = TrainerConfig(num_train_epochs=3, learning_rate=3e-4, seed=7)
    finetune, qat = phases(RECIPE, trainer)
    assert (finetune.trainer.num_train_epochs, finetune.trainer.learning_rate) == (3, 3e-4)
    assert (qat.trainer.num_train_epochs, qat.trainer.learning_rate) == (1, 1e-4)
    assert finetune.trainer.seed == qat.trainer.seed == 7


def test_only_a_quantizing_phase_has_a_quantization_config() -> None:
    finetune, qat = phases(RECIPE, TrainerConfig())
    assert finetune.quantization is None
    assert qat.quantization is not None


def test_the_artifact_does_not_depend_on_the_bf16_of_the_cpu() -> None:
    assert quantization_config(RECIPE).excluded_precisions == ["bf16"]


def test_op_types_that_stay_in_fp32_are_handed_to_neural_compressor() -> None:
    config = quantization_config(QatConfig("direct", {}, fp32_op_types=["Embedding"]))
    assert config.op_type_dict == {"Embedding": {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}}
