from math import isnan

from pipeline.rerun import paired_figures


def test_the_figures_of_the_first_run_are_paired_and_times_are_left_to_the_machine() -> None:
    first = {"fp32/accuracy": 0.9, "int8/loss": 0.5, "int8/latency_p50_ms": 1.0, "time/total_s": 9}
    second = {"fp32/accuracy": 0.8, "int8/loss": 0.5, "int8/latency_p50_ms": 2.0}
    assert paired_figures(first, second) == {"fp32/accuracy": (0.9, 0.8), "int8/loss": (0.5, 0.5)}


def test_a_figure_that_did_not_come_again_is_not_a_number() -> None:
    (pair,) = paired_figures({"int8/accuracy": 0.9}, {}).values()
    assert pair[0] == 0.9
    assert isnan(pair[1])


def test_figures_that_the_first_run_did_not_log_yet_are_left_out() -> None:
    first = {"accuracy": 0.9}
    assert set(paired_figures(first, {**first, "onnx_int8/validation_accuracy": 0.9})) == {
        "accuracy"
    }
