from collections.abc import Callable, Mapping
from pathlib import Path

import datasets
import pytest
from transformers import AutoTokenizer, set_seed

from pipeline.compression.inc_configs import qat_config
from pipeline.config.schema import (
    DatasetConfig,
    LossConfig,
    ModelConfig,
    PhaseConfig,
    QatConfig,
    TrainerConfig,
)
from pipeline.data.corpus import load_corpus
from pipeline.data.tokens import collator, tokenize
from pipeline.models.load import load_model
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.loss import loss_function
from pipeline.training.phases import Phase
from pipeline.training.stage import Stage
from pipeline.training.train_phase import TrainingInputs, train

Curve = list[tuple[int, Mapping[str, float]]]


@pytest.fixture(scope="module")
def data(micro_corpus: Path) -> DatasetConfig:
    return DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=32)


@pytest.fixture(scope="module")
def tokens(data: DatasetConfig, micro_model: Path) -> Mapping[str, datasets.Dataset]:
    return tokenize(load_corpus(data), AutoTokenizer.from_pretrained(micro_model), data)


@pytest.fixture
def trained(
    tmp_path: Path, data: DatasetConfig, tokens: Mapping[str, datasets.Dataset], micro_model: Path
) -> Callable[..., tuple[Stage, Curve]]:
    """Train one phase of the micro model; keywords are those of TrainerConfig."""

    def train_phase(
        *,
        quantize: bool,
        fp32_op_types: tuple[str, ...] = (),
        short: bool = True,
        **options: object,
    ) -> tuple[Stage, Curve]:
        set_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(micro_model)
        recipe = QatConfig("test", {}, fp32_op_types=list(fp32_op_types))
        trainer = TrainerConfig(
            **{"num_train_epochs": 1, "learning_rate": 5e-3, "logging_steps": 2, **options}
        )
        phase = Phase(
            "test",
            trainer,
            PhaseConfig(quantize),
            recipe,
            qat_config(recipe, ()) if quantize else None,
            None,
        )
        curve: Curve = []
        inputs = TrainingInputs(
            splits=tokens,
            tokenizer=tokenizer,
            collate=collator(tokenizer, data),
            loss=loss_function(LossConfig(), tokens["train"]["labels"], 3, 0.0),
            distillation=None,
            hidden_states_weight=0.0,
            checkpoints=Checkpoints(tmp_path, resumed=False, chosen=None),
            log_curves=lambda entries, step: curve.append((step, dict(entries))),
            model=ModelConfig(str(micro_model), classification_token_only=short),
        )
        start = load_model(inputs.model, ("cold", "hot", "wet"))
        return train(start, phase, inputs, first_step=100), curve

    return train_phase
