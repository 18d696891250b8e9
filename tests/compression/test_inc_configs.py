from pipeline.compression.inc_configs import post_training_config, qat_config
from pipeline.config.schema import PostTrainingConfig, QatConfig

RECIPE = QatConfig("direct", {})
FP32 = {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}


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
