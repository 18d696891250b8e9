"""Made-up runs whose answers are known by hand."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.comparison import Comparison
from pipeline.comparison.corpora import compare, table_of
from pipeline.comparison.differences import paired_interval
from pipeline.comparison.front import pareto_front
from pipeline.config.identity import flatten
from pipeline.config.resolve import resolve
from tests.conftest import CONF, composed


def run(
    recipe: str, rate: float, seed: int, accuracy: float | None, latency: float = 1.0
) -> SimpleNamespace:
    params = {
        "model.name_or_path": "assets/minilm",
        "model.num_hidden_layers": "2",
        "dataset.name": "emotion",
        "qat.name": recipe,
        "qat.phases.qat.quantize": str(recipe == "direct"),
        "trainer.learning_rate": str(rate),
        "trainer.seed": str(seed),
        "trainer.optim": "adamw_torch",
    }
    metrics = (
        {}
        if accuracy is None
        else {"accuracy": accuracy, "loss": 1 - accuracy, "onnx_int8/latency_p50_ms": latency}
    )
    tags = {"shipped": "onnx_int8"} if accuracy is not None else {"failure": "the loss became nan"}
    info = SimpleNamespace(
        run_id=f"{recipe}{rate}{seed}",
        experiment_id="1",
        run_name=f"{recipe} {rate} {seed}",
        start_time=seed,
        status="FAILED" if accuracy is None else "FINISHED",
    )
    return SimpleNamespace(
        info=info, inputs=None, data=SimpleNamespace(params=params, metrics=metrics, tags=tags)
    )


RUNS = [
    run("direct", 1e-4, 1, 0.80, 1.0),
    run("direct", 1e-4, 2, 0.82, 1.1),
    run("direct", 3e-4, 1, 0.84, 1.2),
    run("direct", 3e-4, 2, 0.85, 1.2),
    run("none", 1e-4, 1, 0.85, 2.0),
    run("none", 1e-4, 2, 0.88, 2.0),
    run("none", 3e-4, 1, 0.90, 2.0),
    run("none", 3e-4, 2, None),
]


def test_training_time_is_that_of_the_recipe() -> None:
    timed = run("direct", 1e-4, 1, 0.80)
    timed.data.metrics |= {
        "time/qat_s": 60.0,
        "time/teacher_s": 20.0,
        "time/linear_s": 5.0,  # of the first run on a corpus alone
        "time/total_s": 120.0,
    }
    (row,) = Comparison.of([timed], ["accuracy"]).rows
    assert row.figures["training_s"] == 80


def test_the_best_comes_first_and_only_what_differs_is_shown() -> None:
    comparison = Comparison.of(RUNS, ["accuracy"])
    assert [row.figures.get("accuracy") for row in comparison.rows] == [
        0.90,
        0.88,
        0.85,
        0.85,
        0.84,
        0.82,
        0.80,
        None,
    ]
    assert comparison.varying == ("trainer.learning_rate", "trainer.seed"), (
        "what the recipe implies is told by its name"
    )
    table = comparison.table()
    assert list(table.columns) == [
        *("pareto", "run", "accuracy", "latency_p50_ms", "loss"),
        *("model", "dataset", "recipe", "trainer.learning_rate", "trainer.seed"),
        *("status", "run_id"),
    ]
    assert table["status"].tolist() == ["FINISHED"] * 7 + ["FAILED"]


def test_it_says_how_many_runs_the_best_was_chosen_from_and_what_it_is_worth_on_test() -> None:
    first = Comparison.of(RUNS, ["accuracy"]).lines[0]
    assert first == (
        "none 0.0003 1 is the best of 7 runs by accuracy, 0.9, and owes some of that to luck, as "
        "the best of several does."
    )
    runs = [run("direct", 1e-4, seed, 0.80 + seed / 100) for seed in (1, 2)]
    for each in runs:
        each.data.metrics |= {
            "validation_accuracy": each.data.metrics["accuracy"] + 0.02,
            "accuracy_ci_low": 0.79,
            "accuracy_ci_high": 0.85,
        }
    first = Comparison.of(runs, ["validation_accuracy"]).lines[0]
    assert first.startswith("direct 0.0001 2 is the best of 2 runs by validation_accuracy, 0.84, ")
    assert first.endswith("; its test accuracy is 0.8200 (95 % 0.790 to 0.850).")
    assert not Comparison.of(RUNS[:1], ["accuracy"]).lines, "of one run nothing was chosen"


def test_the_front_is_of_accuracy_and_latency_unless_told_otherwise() -> None:
    comparison = Comparison.of(RUNS, ["accuracy"])
    assert {row.run_id for row in comparison.rows if row.pareto} == {
        *("none0.00031", "direct0.00032", "direct0.00012", "direct0.00011")
    }
    by_loss = Comparison.of(RUNS, ["loss", "onnx_int8/latency_p50_ms"])
    assert by_loss.objectives == ("loss", "onnx_int8/latency_p50_ms")
    assert by_loss.rows[0].run_id == "none0.00031"


def test_a_run_that_did_not_finish_takes_no_star_and_takes_none_away() -> None:
    finished, failed = run("direct", 1e-4, 1, 0.80, 1.0), run("direct", 3e-4, 1, 0.90, 0.5)
    failed.info.status = "FAILED"  # as one that loses too much in its export, after its figures
    comparison = Comparison.of([finished, failed], ["accuracy"])
    assert {row.run_id: row.pareto for row in comparison.rows} == {
        failed.info.run_id: False,
        finished.info.run_id: True,
    }


@pytest.mark.parametrize("cost", ["latency_p50_ms", "onnx_int8/latency_p50_ms", "size_mb"])
def test_a_cost_is_weighed_against_the_validation_accuracy(cost: str) -> None:
    accurate, fast = run("none", 1e-4, 1, 0.90, 2.0), run("direct", 1e-4, 1, 0.80, 1.0)
    beaten = run("direct", 3e-4, 1, 0.79, 1.5)
    for each in (accurate, fast, beaten):
        metrics = each.data.metrics
        metrics["validation_accuracy"] = metrics["accuracy"] + 0.01
        if cost == "size_mb":
            metrics[cost] = metrics.pop("onnx_int8/latency_p50_ms")
    comparison = Comparison.of([accurate, fast, beaten], [cost])
    assert comparison.objectives == (cost, "validation_accuracy")
    assert {row.run_id for row in comparison.rows if row.pareto} == {
        accurate.info.run_id,
        fast.info.run_id,
    }


def test_seeds_of_one_configuration_are_put_together() -> None:
    groups = {group.label: group for group in Comparison.of(RUNS, ["accuracy"]).groups}
    assert set(groups) == {
        *("direct, learning_rate 0.0001", "direct, learning_rate 0.0003"),
        *("none, learning_rate 0.0001", "none, learning_rate 0.0003"),
    }
    assert groups["direct, learning_rate 0.0001"].mean == pytest.approx(0.81)
    assert groups["direct, learning_rate 0.0001"].spread == pytest.approx(
        np.std([0.80, 0.82], ddof=1)
    )
    assert len(groups["none, learning_rate 0.0003"].values) == 1


def test_two_recipes_are_compared_over_pairs_that_are_alike_in_all_else() -> None:
    comparison = Comparison.of(RUNS, ["accuracy"])
    recipes = next(
        difference for difference in comparison.differences if difference.key == "recipe"
    )
    assert (recipes.first, recipes.second) == ("direct", "none")
    assert (recipes.seeds, recipes.pairs) == (2, 3)
    gains = [np.mean([0.80 - 0.85, 0.84 - 0.90]), 0.82 - 0.88]  # of seeds 1 and 2
    assert recipes.mean == pytest.approx(np.mean(gains))
    known = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert (recipes.low, recipes.high) == pytest.approx((known.low, known.high))
    assert "over 2 seeds (3 pairs): too few seeds to tell from noise" in recipes.line


def test_one_pair_is_not_read_as_progress() -> None:
    mean, low, _ = paired_interval([0.02])
    assert mean == 0.02
    assert np.isnan(low)
    comparison = Comparison.of([RUNS[0], RUNS[4]], ["accuracy"])
    assert "too few seeds to tell from noise" in comparison.differences[0].line


def test_the_pareto_front_heeds_which_way_is_better_and_keeps_ties() -> None:
    points = [(0.9, 2.0), (0.8, 1.0), (0.8, 2.0), (0.9, 2.0), (float("nan"), 0.1)]
    assert pareto_front(points, ["accuracy", "latency_p50_ms"]) == [True, True, False, True, False]
    assert pareto_front([], ["accuracy"]) == []


def test_an_attempt_that_was_repeated_is_left_out_and_the_last_one_stays() -> None:
    attempts = [
        run("direct", 1e-4, number, accuracy)
        for number, accuracy in ((1, None), (2, None), (3, 0.8))
    ]
    for attempt in attempts:
        attempt.data.tags |= {"mlflow.parentRunId": "sweep", "config.hash": "0123"}
    assert [row.run_id for row in Comparison.of(attempts, ["accuracy"]).rows] == ["direct0.00013"]
    assert [row.run_id for row in Comparison.of(attempts[:2], ["accuracy"]).rows] == [
        "direct0.00012"
    ]


def on_corpus(name: str, digest: str, *runs: SimpleNamespace) -> list[SimpleNamespace]:
    """Give runs their corpus, as MLflow has it among their inputs."""
    for each in runs:
        each.data.params["dataset.name"] = name
        inputs = [
            SimpleNamespace(
                tags=[SimpleNamespace(key="mlflow.data.context", value=context)],
                dataset=SimpleNamespace(digest=digest + context),
            )
            for context in ("validation", "testing")
        ]
        each.inputs = SimpleNamespace(dataset_inputs=inputs)
    return list(runs)


def test_runs_on_other_texts_are_no_rivals() -> None:
    spam = on_corpus("spam", "a", run("none", 1e-4, 1, 0.99, 0.5), run("none", 1e-4, 2, 0.98, 0.4))
    questions = on_corpus("questions", "b", *deepcopy(RUNS[:3]))
    lost = run("direct", 1e-4, 9, None)
    lost.data.params["dataset.name"] = "spam"
    comparisons = compare([lost, *spam, *questions], ["accuracy"])
    assert [[row.dataset for row in each.rows] for each in comparisons] == [
        ["spam"] * 3,
        ["questions"] * 3,
    ]
    assert comparisons[0].rows[-1].status == "FAILED", "it had not read its corpus yet"
    assert [sum(row.pareto for row in each.rows) for each in comparisons] == [2, 3]
    table = table_of(comparisons)
    assert table["dataset"].tolist() == ["spam"] * 3 + ["questions"] * 3
    assert table.columns.tolist()[-2:] == ["status", "run_id"]
    other_split = on_corpus("spam", "c", run("none", 1e-4, 1, 0.97))
    told_apart = compare([*spam, *other_split], ["accuracy"])
    assert [each.rows[0].dataset for each in told_apart] == ["spam (avalidat)", "spam (cvalidat)"]
    renamed = on_corpus("ham", "a", run("direct", 1e-4, 3, 0.96))
    assert len(compare([*spam, *renamed], ["accuracy"])) == 1, "another name, the same texts"
    unknown = run("none", 1e-4, 4, 0.995, 0.1)
    unknown.data.params["dataset.name"] = "spam"
    first, second = compare([*spam, unknown], ["accuracy"])
    assert (len(first.rows), second.rows[0].dataset) == (2, "spam (no digest)")


def test_a_column_that_varies_on_one_corpus_is_filled_on_all() -> None:
    first = on_corpus("spam", "a", run("none", 1e-4, 1, 0.9), run("none", 1e-4, 2, 0.8))
    second = on_corpus("questions", "b", run("none", 1e-4, 5, 0.7))
    table = table_of(compare([*first, *second], ["accuracy"]))
    assert table["trainer.seed"].tolist() == [1, 2, 5]


def test_what_changes_no_model_is_no_column_and_a_teacher_with_its_options_is_one() -> None:
    runs = deepcopy(RUNS[:4])
    for number, each in enumerate(runs):
        each.data.params |= {
            "benchmark.repetitions": str(number),
            "export.max_accuracy_loss": str(number),
            "tracking.keep": "all" if number else "none",
            "distillation.teacher": f"teacher {number % 2}",
            "distillation.loss_weights": f"[0.{number % 2}]",
            "distillation.temperature": str(number),
        }
    varying = Comparison.of(runs, ["accuracy"]).varying
    assert varying == (
        "distillation.teacher",
        "distillation.temperature",
        "trainer.learning_rate",
        "trainer.seed",
    )


def logged_by(*overrides: str, seed: int, accuracy: float) -> SimpleNamespace:
    """A run with every parameter of a config."""
    each = run("none", 1e-4, seed, accuracy)
    anywhere = ("model.name_or_path=.", "dataset.data_dir=.")
    config = resolve(
        composed("experiment=quickstart", *anywhere, f"trainer.seed={seed}", *overrides)
    )
    each.data.params = flatten(config)
    each.info.run_id = each.info.run_name = f"{overrides} {seed}"
    return each


PRUNINGS = sorted(file.stem for file in (CONF / "pruning").glob("*.yaml"))


@pytest.mark.parametrize("pruning", PRUNINGS)
def test_a_pruned_recipe_is_compared_with_the_recipe_alone(pruning: str) -> None:
    runs = [
        logged_by(*overrides, seed=seed, accuracy=accuracy - seed / 100)
        for seed in (1, 2, 3)
        for overrides, accuracy in (((), 0.85), ((f"+pruning={pruning}",), 0.8 + seed / 200))
    ]
    comparison = Comparison.of(runs, ["accuracy"])
    assert comparison.varying == ("trainer.seed",), "what pruning sets follows from its name"
    (recipes,) = comparison.differences
    assert (recipes.first, recipes.second) == ("finetune_then_qat", "finetune_then_qat+pruning")
    assert (recipes.seeds, recipes.pairs) == (3, 3)
    assert recipes.mean == pytest.approx(0.04)


def test_runs_that_choose_their_checkpoint_otherwise_are_told_apart() -> None:
    last = ("trainer.load_best_model_at_end=false", "trainer.save_strategy=no")
    runs = [
        logged_by(*overrides, seed=1, accuracy=0.8)
        for overrides in ((), last, ("+pruning=magnitude",))
    ]
    comparison = Comparison.of(runs, ["accuracy"])
    assert comparison.varying == ("trainer.load_best_model_at_end", "trainer.save_strategy")
    assert [(each.key, each.pairs) for each in comparison.differences] == [("recipe", 1)]


def test_runs_of_0_1_0_and_of_now_are_one_configuration() -> None:
    earlier, now = run("direct", 1e-4, 1, 0.80), run("direct", 1e-4, 2, 0.82)
    earlier.data.params["export.vocabulary"] = "full"
    comparison = Comparison.of([earlier, now], ["accuracy"])
    assert comparison.varying == ("trainer.seed",)
    assert [group.values for group in comparison.groups] == [(0.82, 0.80)]
