from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.config.schema import (
    Config,
    DistillationConfig,
    PhaseConfig,
    PruningConfig,
    QatConfig,
    TrainerConfig,
)
from pipeline.errors import PipelineError
from pipeline.training.distillation import _fine_tuning
from pipeline.training.phases import optimizer_steps, phases
from pipeline.training.schedule import Task

RECIPE = QatConfig(
    "finetune_then_qat",
    {
        "finetune": PhaseConfig(quantize=False),
        "qat": PhaseConfig(quantize=True, num_train_epochs=1, learning_rate=1e-4),
    },
)
TASK = Task(train_rows=100, num_labels=2, hidden_size=128, num_hidden_layers=2)
CONFIG = Config(qat=RECIPE, trainer=TrainerConfig(num_train_epochs=3, learning_rate=3e-4, seed=7))


def test_a_phase_takes_from_the_trainer_what_it_does_not_say() -> None:
    finetune, qat = phases(CONFIG, (), TASK)
    assert (finetune.trainer.num_train_epochs, finetune.trainer.learning_rate) == (3, 3e-4)
    assert (qat.trainer.num_train_epochs, qat.trainer.learning_rate) == (1, 1e-4)
    assert finetune.trainer.seed == qat.trainer.seed == 7


@pytest.mark.parametrize(("steps", "quarter"), [(8, 2), (10, 3), (1, 1)])
def test_a_length_in_steps_is_scaled_as_one_in_epochs(steps: int, quarter: int) -> None:
    qat = PhaseConfig(quantize=True, num_train_epochs_factor=0.25)
    recipe = QatConfig("two", {"finetune": PhaseConfig(quantize=False), "qat": qat})
    trainer = replace(CONFIG.trainer, max_steps=steps)
    listed = phases(replace(CONFIG, qat=recipe, trainer=trainer), (), TASK)
    assert [phase.trainer.max_steps for phase in listed] == [steps, quarter]
    listed = phases(replace(CONFIG, qat=recipe), (), TASK)
    assert [phase.trainer.max_steps for phase in listed] == [-1, -1], "the epochs count"


def test_only_a_quantizing_phase_has_a_quantization_config() -> None:
    finetune, qat = phases(CONFIG, (), TASK)
    assert finetune.quantization is None
    assert qat.quantization is not None


def test_the_first_phase_prunes_and_the_next_one_keeps_the_zeros() -> None:
    finetune, qat = phases(
        replace(CONFIG, pruning=PruningConfig("magnitude", "1x1", 0.7)),
        (),
        replace(TASK, train_rows=320),
    )
    assert finetune.pruning.weight_compression.pruning_type == "magnitude"
    assert finetune.pruning.weight_compression.end_step == 15, "half of 30 steps"
    assert qat.pruning.weight_compression.pruning_type == "pattern_lock"


@pytest.mark.parametrize(
    ("pruning", "accepted", "reason"),
    [
        ({"end_step": 30}, {"end_step": 29}, "end_step=30 needs at least 31 training st"),
        (
            {"end_step": 30, "pruning_frequency": 6},
            {"end_step": 30, "pruning_frequency": 7},  # whose last pruning is at step 28
            "end_step=30 needs at least 31 training st",
        ),
        ({"start_step": 29}, {"start_step": 28}, "start_step=29 needs .* 31 .* has 30; give a"),
    ],
)
def test_a_phase_that_ends_before_its_pruning_is_refused(
    pruning: dict[str, int], accepted: dict[str, int], reason: str
) -> None:
    task = replace(TASK, train_rows=320)
    phases(replace(CONFIG, pruning=PruningConfig("magnitude", "1x1", **accepted)), (), task)
    with pytest.raises(PipelineError, match=f"pruning.{reason}"):
        phases(replace(CONFIG, pruning=PruningConfig("magnitude", "1x1", **pruning)), (), task)


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
    assert optimizer_steps(TrainerConfig(**{"num_train_epochs": 2, **options}), 100) == expected


def test_a_teachers_own_epochs_count_beside_max_steps() -> None:
    distillation = DistillationConfig(teacher="a/b", num_train_epochs=3)
    trainer = TrainerConfig(max_steps=8)
    teacher = SimpleNamespace(distillation=distillation, config=SimpleNamespace(trainer=trainer))
    own = _fine_tuning(teacher)
    assert (own.max_steps, own.num_train_epochs) == (-1, 3)
    distillation.num_train_epochs = None
    assert _fine_tuning(teacher).max_steps == 8
