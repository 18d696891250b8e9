"""A teacher is asked; tests/e2e/test_distillation.py has whole runs that it teaches."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.config.schema import Config, DatasetConfig, DistillationConfig, ModelConfig
from pipeline.data.corpus import load_corpus
from pipeline.evaluation.metrics import TEACHER_LOGITS
from pipeline.training.distillation import Teacher, teach
from pipeline.training.teaching import Teaching

ORDER = ["wet", "cold", "hot"]


def taught(teacher: Path, dataset: DatasetConfig, tmp_path: Path, **options: bool) -> Teaching:
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
