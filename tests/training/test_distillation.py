"""A teacher is asked; tests/e2e/test_distillation.py has whole runs that it teaches."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2Model,
)

from pipeline.config.schema import Config, DatasetConfig, DistillationConfig, ModelConfig
from pipeline.data.corpus import load_corpus
from pipeline.errors import PipelineError
from pipeline.evaluation.metrics import TEACHER_LOGITS
from pipeline.training.distillation import Teacher, teach
from pipeline.training.teaching import Teaching

ORDER = ["wet", "cold", "hot"]


def taught(teacher: Path, dataset: DatasetConfig, tmp_path: Path, **options: float) -> Teaching:
    """Let a teacher answer the texts of a dataset."""
    distillation = DistillationConfig(str(teacher), **options)
    config = Config(ModelConfig(str(teacher)), dataset, distillation=distillation)
    corpus = load_corpus(dataset)
    return teach(Teacher.of(config, distillation, corpus, str(teacher)), tmp_path)


def test_a_teacher_whose_labels_have_another_order_teaches_each_class_by_its_name(
    micro_classifier: Path, micro_corpus: Path, tmp_path: Path
) -> None:
    dataset = DatasetConfig("micro", data_dir=str(micro_corpus), max_length=32, label_names=ORDER)
    teaching = taught(micro_classifier, dataset, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(micro_classifier)
    model = AutoModelForSequenceClassification.from_pretrained(micro_classifier).eval()
    columns = [model.config.label2id[name] for name in ORDER]
    answers = {
        "train": np.array(teaching.answers[TEACHER_LOGITS]),
        "validation": teaching.result.validation_logits,
        "test": teaching.result.logits,
    }
    for split, logits in answers.items():
        texts = load_corpus(dataset).splits[split]["text"]
        with torch.no_grad():
            own = model(**tokenizer(list(texts), padding=True, return_tensors="pt")).logits
        # Those of train are in the precision of training.
        tolerance = 0.01 if split == "train" else 1e-5
        np.testing.assert_allclose(logits, own[:, columns], atol=tolerance)


def test_code_that_the_files_of_a_teacher_name_is_not_run(
    armed_classifier: Path, micro_corpus: Path, tmp_path: Path
) -> None:
    dataset = DatasetConfig("micro", data_dir=str(micro_corpus), max_length=32)
    taught(armed_classifier, dataset, tmp_path, student_from_teacher=True)
    assert not (armed_classifier / "proof").exists()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("cut", "cannot be loaded: "),
        ("gone", "has no weights"),
        ("headless", "classifier.bias, classifier.weight are missing"),
        ("empty", "has no config"),
    ],
)
def test_a_teacher_that_is_not_whole_is_refused_in_a_line(
    micro_classifier: Path, micro_corpus: Path, tmp_path: Path, damage: str, told: str
) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(micro_classifier, teacher)
    file = teacher / "model.safetensors"
    weights = load_file(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "gone":
        file.unlink()
    elif damage == "empty":
        (teacher / "config.json").unlink()
    else:
        encoder = {key: weights[key] for key in weights if not key.startswith("classifier")}
        save_file(encoder, file, {"format": "pt"})
    dataset = DatasetConfig("micro", data_dir=str(micro_corpus), max_length=32)
    with pytest.raises(PipelineError, match=told) as caught:
        taught(teacher, dataset, tmp_path)
    assert str(teacher) in str(caught.value)


def test_a_decoder_whose_config_names_no_padding_becomes_a_teacher(
    micro_model: Path, micro_corpus: Path, tmp_path: Path
) -> None:
    tokenizer, encoder = AutoTokenizer.from_pretrained(micro_model), tmp_path / "gpt2"
    shape = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 66}
    GPT2Model(GPT2Config(vocab_size=len(tokenizer), **shape)).save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)
    dataset = DatasetConfig("micro", data_dir=str(micro_corpus), max_length=32)
    teaching = taught(encoder, dataset, tmp_path, num_train_epochs=1)
    taught_by = AutoModelForSequenceClassification.from_pretrained(teaching.result.artifact.path)
    assert taught_by.config.pad_token_id == tokenizer.pad_token_id
