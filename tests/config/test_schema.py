from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from pipeline.config.ranges import RANGE
from pipeline.config.resolve import resolve
from pipeline.config.schema import Config, TrainerConfig
from tests.conftest import CONF, composed

GROUPS = ["model", "dataset", "qat", "trainer", "export", "benchmark", "tracking", "experiment"]
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_config_file_composes_into_a_valid_run(here: Path, group: str, option: str) -> None:
    (here / "train.csv").touch()
    needed = ["dataset.train_file=train.csv"] if (group, option) == ("dataset", "files") else []
    resolved = resolve(composed(f"{group}={option}", *needed))
    assert resolved.model.name_or_path
    assert resolved.qat.phases


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_config_file_says_how_to_call_it_in_its_first_comment(
    group: str, option: str
) -> None:
    lines = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines[:2] if line.startswith("# python -m pipeline")]
    assert comments, f"{group}/{option}.yaml"
    assert f"{group}=" in comments[0] or f"{group}.KEY=" in comments[0]


def test_the_default_run_is_the_task_of_the_article() -> None:
    resolved = resolve(composed())
    assert resolved.model.name_or_path == "prajjwal1/bert-tiny"
    assert resolved.dataset.path == "dair-ai/emotion"
    assert resolved.dataset.max_length == 128
    assert list(resolved.qat.phases) == ["finetune", "qat"]
    assert [phase.quantize for phase in resolved.qat.phases.values()] == [False, True]


def test_the_published_sample_is_followed_to_the_letter() -> None:
    resolved = resolve(composed("experiment=intel_sample"))
    assert resolved.dataset.padding == "max_length"
    assert resolved.qat.name == "direct"
    assert resolved.qat.fp32_op_types == []
    trainer = resolved.trainer
    assert (
        trainer.num_train_epochs,
        trainer.per_device_train_batch_size,
        trainer.learning_rate,
    ) == (2, 8, 5e-5)
    assert (trainer.seed, trainer.optim, trainer.group_by_length) == (42, "adamw_torch", False)
    assert not resolved.model.classification_token_only


def test_every_trainer_key_is_a_training_argument() -> None:
    from transformers import EarlyStoppingCallback, TrainingArguments

    known = {item.name for item in fields(TrainingArguments)} | vars(EarlyStoppingCallback()).keys()
    assert {item.name for item in fields(TrainerConfig)} <= known


def test_every_number_has_its_range_and_takes_its_default() -> None:
    numbers = [item for group in groups(Config) for item in fields(group) if is_number(item)]
    assert len(numbers) > 50
    for item in numbers:
        accepted = item.metadata[RANGE]
        assert item.default in (None, MISSING) or item.default in accepted, item.name
        assert float("nan") not in accepted, item.name
        assert float("inf") not in accepted, item.name


def groups(schema: type) -> Iterator[type]:
    """List a dataclass and every dataclass that one of its fields holds."""
    yield schema
    for hint in get_type_hints(schema).values():
        for part in (hint, *get_args(hint)):
            if is_dataclass(part):
                yield from groups(part)


def is_number(item: Field) -> bool:
    hint = str(item.type)
    return ("int" in hint or "float" in hint) and "Literal" not in hint
