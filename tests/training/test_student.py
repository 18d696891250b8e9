"""A student starts from layers of a teacher of the same architecture and tokenizer alone."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipeline.config.schema import Config, DatasetConfig, DistillationConfig, ModelConfig
from pipeline.errors import PipelineError
from pipeline.training.student import check_student

Like = Callable[..., Path]


@pytest.fixture
def like(tmp_path: Path, micro_model: Path) -> Like:
    """Copy the micro model, with other values in its config and tokenizer."""

    def copy(
        file: str = "config.json", replaced: Mapping[str, str] | None = None, **changes: object
    ) -> Path:
        folder = tmp_path / "other"
        shutil.copytree(micro_model, folder)
        stored = json.loads((folder / file).read_text(encoding="utf-8"))
        text = json.dumps({**stored, **changes})
        for old, new in (replaced or {}).items():
            assert old in text
            text = text.replace(old, new)
        (folder / file).write_text(text, encoding="utf-8")
        return folder

    return copy


def check(
    model: Path, teacher: Path, layers: int | None = None, *, of_teacher: int | None = None
) -> None:
    config = Config(
        model=ModelConfig(str(model), num_hidden_layers=layers),
        dataset=DatasetConfig(name="micro", max_length=32),
    )
    distillation = DistillationConfig(str(teacher), num_hidden_layers=of_teacher)
    checkpoint = ModelConfig(str(teacher), num_hidden_layers=of_teacher)
    check_student(config, distillation, checkpoint, is_classifier=of_teacher is None)


@pytest.mark.parametrize(
    ("changes", "key", "own", "other"),
    [
        ({"num_attention_heads": 4}, "num_attention_heads", "2", "4"),
        ({"hidden_act": "relu"}, "hidden_act", "gelu", "relu"),
        ({"hidden_size": 64}, "hidden_size", "32", "64"),
        ({"model_type": "electra"}, "model_type", "bert", "electra"),
        ({"is_decoder": True}, "is_decoder", "False", "True"),
    ],
)
def test_a_teacher_of_another_config_is_refused_with_the_key_and_both_values(
    like: Like, micro_model: Path, changes: Mapping[str, object], key: str, own: str, other: str
) -> None:
    teacher = like(**changes)
    with pytest.raises(PipelineError) as caught:
        check(micro_model, teacher)
    line = str(caught.value)
    assert f"model.name_or_path={micro_model}: there {key}={own}, in distillation.teacher=" in line
    assert f"distillation.teacher={teacher} {other}; give model.name_or_path the" in line
    assert line.endswith("or distillation.student_from_teacher=false.")


def test_a_teacher_with_other_ids_for_the_same_words_is_refused(
    like: Like, micro_model: Path
) -> None:
    words = json.loads((micro_model / "tokenizer.json").read_text())["model"]["vocab"]
    first, second = (f'"{word}": {words[word]}' for word in ("rain", "snow"))
    swapped = {first: "-1", second: f'"snow": {words["rain"]}', "-1": f'"rain": {words["snow"]}'}
    teacher = like("tokenizer.json", replaced=swapped)
    with pytest.raises(PipelineError, match=r"there tokenizer\.model\.vocab\.\w+=\d+, in .* \d+; "):
        check(micro_model, teacher)


def test_a_teacher_whose_tokenizer_keeps_capitals_or_gives_no_token_types_is_refused(
    like: Like, micro_model: Path
) -> None:
    teacher = like("tokenizer_config.json", do_lower_case=False)
    with pytest.raises(PipelineError, match=r"tokenizer\.normalizer\.lowercase=True, .* False; "):
        check(micro_model, teacher)
    shutil.rmtree(teacher)
    teacher = like("tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    with pytest.raises(PipelineError, match=r"model_input_names\.token_type_ids=True, .* missing;"):
        check(micro_model, teacher)


def test_what_changes_no_answer_may_differ(like: Like, micro_model: Path) -> None:
    unlike = {
        "_name_or_path": "elsewhere",
        "architectures": ["BertForSequenceClassification"],
        "dtype": "float16",
        "hidden_dropout_prob": 0.3,
        "id2label": {"0": "no", "1": "yes"},
        "label2id": {"no": 0, "yes": 1},
        "initializer_range": 0.5,
        "transformers_version": "4.30.0",
        "directionality": "bidi",
    }
    check(micro_model, like(**unlike))


def test_the_number_of_layers_may_differ_if_it_is_said_how_many_are_kept(
    like: Like, micro_model: Path
) -> None:
    teacher = like(num_hidden_layers=6)
    check(micro_model, teacher, layers=2)
    check(micro_model, teacher, of_teacher=2)
    wanted = "has 2 layers and distillation.teacher=.* {}; .*it has to be given, at most {}"
    with pytest.raises(PipelineError, match=wanted.format(6, 2)):
        check(micro_model, teacher)
    with pytest.raises(PipelineError, match=wanted.format(1, 1)):
        check(micro_model, teacher, of_teacher=1)
    with pytest.raises(PipelineError, match="num_hidden_layers=2 but teacher .* has 1 layers"):
        check(micro_model, teacher, layers=2, of_teacher=1)
