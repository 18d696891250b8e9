from types import SimpleNamespace

from pipeline.config.schema import Config, DatasetConfig, ModelConfig, QatConfig, TrainerConfig
from pipeline.promotion.card import model_card

COLUMNS = (
    "validation_accuracy",
    "accuracy",
    "accuracy_ci_low",
    "accuracy_ci_high",
    "f1_macro",
    "size_mb",
    "latency_p50_ms",
)
FIGURES = {
    "onnx_int8/": (0.9101, 0.9002, 0.871, 0.929, 0.8903, 4.1, 0.52),
    "fp32/": (0.9204, 0.9105, 0.882, 0.938, 0.9006, 17.3, 2.44),
    "int8/": (0.9007, 0.8908, 0.863, 0.917, 0.8809, 5.5, 1.96),
    "openvino_int8/": (0.8911, 0.8812, 0.854, 0.906, 0.8713, 4.7, 0.68),
    "": (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1),
}


def figures_of(card: str) -> list[str]:
    lines = card.split("## Figures\n\n")[1].split("\n\n")[0].splitlines()
    return [line.removeprefix("| ").removesuffix(" |") for line in lines[2:]]


def card_of(
    figures: dict[str, tuple[float, ...]],
    text_pair_column: str | None = None,
    reasons: str = "passed",
) -> str:
    metrics = {
        f"{prefix}{column}": value
        for prefix, values in figures.items()
        for column, value in zip(COLUMNS, values, strict=False)
    }
    data = SimpleNamespace(tags={"shipped": "onnx_int8"}, metrics=metrics)
    run = SimpleNamespace(
        info=SimpleNamespace(run_name="a run", run_id="0" * 32), data=data, inputs=None
    )
    config = Config(
        ModelConfig("owner/bert-micro"),
        DatasetConfig(name="micro", path="owner/micro", text_pair_column=text_pair_column),
        QatConfig("direct", {}),
        TrainerConfig(),
    )
    return model_card(run, config, ["cold", "hot"], reasons)


def test_each_row_of_figures_has_those_of_its_own_model() -> None:
    linear = (0.8514, 0.8415, 0.806, 0.877, 0.8316, 0.2, 0.04)
    assert figures_of(card_of(FIGURES | {"linear/": linear})) == [
        "this file, `onnx_int8` | 0.9101 | 0.9002 | 0.871 to 0.929 | 0.8903 | 4.1 | 0.52",
        "FP32, PyTorch | 0.9204 | 0.9105 | 0.882 to 0.938 | 0.9006 | 17.3 | 2.44",
        "linear model | 0.8514 | 0.8415 | 0.806 to 0.877 | 0.8316 | 0.2 | 0.04",
    ]


def test_figures_that_a_run_lacks_are_empty_cells_and_models_it_lacks_are_no_rows() -> None:
    assert figures_of(card_of({"onnx_int8/": (0.9101, 0.9002)})) == [
        "this file, `onnx_int8` | 0.9101 | 0.9002 |  |  |  | "
    ]


def test_the_card_says_what_the_model_takes_and_shows_the_gates_words_as_they_are() -> None:
    card = card_of(FIGURES, text_pair_column="reply", reasons="floor: more than *<b>*")
    assert "It puts a pair of texts like those of `micro` into one of 2 classes:" in card
    assert "The gate: floor: more than \\*\\<b\\>\\*." in card
    assert "It puts a text like those of" in card_of(FIGURES)
