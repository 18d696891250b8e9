"""Train and quantize a small BERT in the ways that a stack of versions could change.

`python -m tests.training.reference FILE` writes the figures of the installed stack. reference.json
was written so by transformers 4.45.2, torch 2.13.0 and numpy 1.26.4, with INCTrainer's own training
loop.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import datasets
import numpy as np
import torch
from neural_compressor.adaptor import pytorch as inc_pytorch
from neural_compressor.adaptor.torch_utils import util as inc_util
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    set_seed,
)

from pipeline.compression import fake_quantization
from pipeline.compression.fake_quantization import FakeQuantization
from pipeline.config.schema import (
    Config,
    DatasetConfig,
    DistillationConfig,
    LossConfig,
    ModelConfig,
    PhaseConfig,
    PostTrainingConfig,
    PruningConfig,
    QatConfig,
    TrainerConfig,
)
from pipeline.data.tokens import LENGTH, NUM_TOKENS, collator
from pipeline.evaluation.metrics import TEACHER_LOGITS, Evaluator
from pipeline.models.load import Pretrained
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.loss import loss_function
from pipeline.training.phases import phases
from pipeline.training.post_training import PostTrainingInputs, quantize
from pipeline.training.schedule import task_of
from pipeline.training.stage import Stage
from pipeline.training.teaching import inc_distillation
from pipeline.training.train_phase import TrainingInputs, train

RECORDED = Path(__file__).with_name("reference.json")
WORDS, CLASSES, ROWS = 90, 3, {"train": 192, "validation": 48, "test": 48}
QAT = {"qat": PhaseConfig(quantize=True)}
FLOAT_THEN_QAT = {"float": PhaseConfig(quantize=False), **QAT}
POST = {"float": PhaseConfig(quantize=False)}
CONFIGS: dict[str, dict[str, Any]] = {
    "fp32": {"qat": QatConfig("fp32", POST)},
    "qat": {"qat": QatConfig("qat", QAT)},
    "qat_without_layer_norm": {"qat": QatConfig("qat", QAT, ["LayerNorm"])},
    "qat_around_zero": {
        "qat": QatConfig(
            "qat", QAT, ["Embedding"], weight_granularity="per_tensor", activation_scheme="sym"
        )
    },
    "accumulation": {"qat": QatConfig("qat", QAT), "gradient_accumulation_steps": 2},
    "pruned_and_taught": {
        "qat": QatConfig("qat", FLOAT_THEN_QAT, ["Embedding"]),
        "pruning": PruningConfig("magnitude"),
        "distillation": DistillationConfig("teacher"),
    },
    "dynamic": {"qat": QatConfig("ptq", POST, post_training=PostTrainingConfig("dynamic"))},
    "static": {"qat": QatConfig("ptq", POST, post_training=PostTrainingConfig("static", 64))},
}


@contextmanager
def cpu_with_vnni() -> Iterator[None]:
    """Let Neural Compressor take 8 bits for activations, and not the 7 of a CPU without VNNI."""
    with (
        patch.object(inc_pytorch, "REDUCE_RANGE", False),
        patch.object(inc_util, "CpuInfo", type("CpuInfo", (), {"vnni": True})),
    ):
        yield


def measure(name: str) -> dict[str, Any]:
    """Run one of CONFIGS from weights and texts that come from NumPy's generator alone."""
    options = dict(CONFIGS[name])
    accumulation = options.pop("gradient_accumulation_steps", 1)
    trainer = TrainerConfig(
        per_device_train_batch_size=16,
        learning_rate=3e-3,
        warmup_ratio=0.0,
        logging_steps=2,
        num_train_epochs=1,
        gradient_accumulation_steps=accumulation,
        bf16=False,
    )
    config = replace(Config(), trainer=trainer, **options)
    curve: list[tuple[int, dict[str, float]]] = []
    counted: list[int] = []
    fake_quantization.WEIGHT_AVERAGING = 0.01  # torch's
    original = FakeQuantization.prepare
    FakeQuantization.prepare = lambda self, model: (  # type: ignore[method-assign]
        original(self, model),
        counted.append(len(self._replaced)),
    )
    try:
        with cpu_with_vnni(), TemporaryDirectory() as folder:
            stages = _train(
                config, Path(folder), lambda entries, step: curve.append((step, dict(entries)))
            )
            evaluator = Evaluator(_splits(taught=False)["test"], _collate(), 16)
            logits = evaluator.logits(stages[-1].model)
    finally:
        FakeQuantization.prepare = original  # type: ignore[method-assign]
        fake_quantization.WEIGHT_AVERAGING = 1.0
    return {
        "curve": [[step, entries] for step, entries in curve],
        "fake_quantizations": counted,
        "statistics": [
            [row.op_type, row.total, row.int8, row.bf16, row.fp32]
            for row in stages[-1].op_statistics
        ],
        "int8_modules": sorted(stages[-1].int8_modules),
        "scales": _scales(stages[-1].model),
        "logits": np.asarray(logits, dtype=np.float64).tolist(),
    }


def _train(config: Config, folder: Path, log_curves: Callable[..., None]) -> list[Stage]:
    splits = _splits(taught=config.distillation is not None)
    inputs = TrainingInputs(
        splits=splits,
        tokenizer=_tokenizer(),
        collate=_collate(),
        loss=loss_function(LossConfig(), splits["train"]["labels"], CLASSES, 0.0),
        distillation=config.distillation and inc_distillation(config.distillation),
        hidden_states_weight=0.0,
        checkpoints=Checkpoints(folder, resumed=False, chosen=None),
        log_curves=log_curves,
        model=ModelConfig(head_learning_rate_factor=1.0, embeddings_learning_rate_factor=1.0),
    )
    start = Pretrained(_model(), new_parameters=frozenset())
    set_seed(0)
    stages: list[Stage] = []
    for phase in phases(config, (), task_of(start.model, ROWS["train"])):
        stages.append(train(start, phase, inputs, sum(stage.steps for stage in stages)))
        start = Pretrained(stages[-1].model, new_parameters=frozenset())
    if config.qat.post_training is not None:
        quantization = PostTrainingInputs(splits, _collate(), (), folder)
        stages.append(quantize(start.model, config, quantization))
    return stages


def _model() -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=32,
        num_labels=CLASSES,
        attn_implementation="eager",
    )
    model = BertForSequenceClassification(config)
    random = np.random.RandomState(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.dim() == 2:
                parameter.copy_(torch.from_numpy(random.normal(0, 0.1, tuple(parameter.shape))))
            else:
                parameter.fill_(1.0 if "LayerNorm.weight" in name else 0.0)
    return model


def _splits(taught: bool) -> dict[str, datasets.Dataset]:
    """Make texts of 4 to 20 words; each class has 10 words of its own, which half of them have."""
    random = np.random.RandomState(1)
    splits = {}
    for split, count in ROWS.items():
        rows: dict[str, list[Any]] = {"input_ids": [], "labels": [], TEACHER_LOGITS: []}
        for row in range(count):
            label = row % CLASSES
            words = random.randint(40, WORDS, random.randint(4, 20))
            own = random.rand(len(words)) < 0.5
            words[own] = random.randint(10 * label + 5, 10 * label + 15, int(own.sum()))
            rows["input_ids"].append([2, *map(int, words), 3])
            rows["labels"].append(label)
            rows[TEACHER_LOGITS].append([float(x) for x in random.normal(0, 1, CLASSES)])
        rows["attention_mask"] = [[1] * len(ids) for ids in rows["input_ids"]]
        rows[LENGTH] = rows[NUM_TOKENS] = [len(ids) for ids in rows["input_ids"]]
        if not taught or split != "train":
            del rows[TEACHER_LOGITS]
        splits[split] = datasets.Dataset.from_dict(rows)
    return splits


def _tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {f"word{number}": number for number in range(WORDS)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token="word1")),
        unk_token="word1",
        pad_token="word0",
    )


def _collate() -> Any:
    return collator(_tokenizer(), DatasetConfig(name="reference", max_length=32))


def _scales(model: torch.nn.Module) -> dict[str, list[float]]:
    """Return scale and zero point of every activation that a converted model quantizes."""
    return {
        name: [float(module.scale), float(module.zero_point)]
        for name, module in model.named_modules()
        if hasattr(module, "scale") and hasattr(module, "zero_point")
    }


if __name__ == "__main__":
    recorded = {name: measure(name) for name in CONFIGS}
    Path(sys.argv[1]).write_text(json.dumps(recorded) + "\n", encoding="utf-8")
