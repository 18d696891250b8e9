import pytest

from pipeline.config.objectives import (
    check_objectives,
    higher_is_better,
    is_score,
    promised_figures,
)
from pipeline.config.resolve import resolve
from pipeline.errors import PipelineError
from tests.conftest import composed


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "int8/f1_macro",
        "onnx_int8/throughput_per_s_16_tokens",
        "speedup",
        "fp32/validation_accuracy",
    ],
)
def test_more_of_these_is_better(name: str) -> None:
    assert higher_is_better(name)


@pytest.mark.parametrize(
    "name",
    [
        "accuracy_drop",
        "loss",
        "int8/validation_loss",
        "int8/size_mb",
        "onnx_int8/latency_p50_ms",
        "time/total_s",
    ],
)
def test_less_of_these_is_better(name: str) -> None:
    assert not higher_is_better(name)


def test_a_figure_is_a_score_or_a_cost() -> None:
    scores = ("accuracy", "int8/validation_loss", "onnx_int8/f1_macro", "ece", "accuracy_drop")
    costs = ("speedup", "int8/size_mb", "onnx_int8/latency_p50_ms_16_tokens", "time/total_s")
    assert [is_score(name) for name in (*scores, *costs)] == [True] * 5 + [False] * 4


@pytest.mark.usefixtures("here")
def test_an_objective_that_no_job_logs_is_refused_with_those_that_are() -> None:
    float_only = resolve(
        composed("experiment=quickstart", "qat=none", "benchmark=none", "export=none")
    )
    quantized = resolve(composed("experiment=quickstart", "export=none"))
    check_objectives(["int8/accuracy", "speedup"], [float_only, quantized])
    with pytest.raises(
        PipelineError, match="objective=int8/accuracy is logged by no run of this sweep"
    ):
        check_objectives(["int8/accuracy"], [float_only])
    with pytest.raises(PipelineError, match="did you mean .*int8/size_mb"):
        check_objectives(["int8/sizemb"], [quantized])
    assert "speedup" not in promised_figures(float_only)
