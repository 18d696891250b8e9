"""How long a training step takes in FP32, with a teacher's logits from disk, and in QAT; and what shortens it.

With and without the last layer's cut, and batches of like length.

python benchmarks/training_step.py [--data-dir DIR] [--steps N]

The 2-layer MiniLM at batch 32; the median over the steps after the first five, all in one process.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pipeline.console import quiet

quiet.third_parties()

import datasets
import numpy as np

from pipeline.compression.inc_configs import Phase, qat_config
from pipeline.config.schema import (
    DatasetConfig,
    DistillationConfig,
    LossConfig,
    ModelConfig,
    PhaseConfig,
    QatConfig,
    TrainerConfig,
)
from pipeline.data.corpus import collator, load_corpus, tokenize
from pipeline.models.load import load_model, load_tokenizer
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.distillation import LOGITS, Teaching, inc_distillation
from pipeline.training.loss import loss_function
from pipeline.training.train_phase import Material, train

MODEL = ModelConfig("assets/minilm", num_hidden_layers=2)
WARM_UP = 5
TAUGHT = "distilled"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", default="assets/reviews")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    data = DatasetConfig(
        name="corpus",
        data_dir=options.data_dir,
        max_train_samples=32 * options.steps,
        max_eval_samples=64,
    )
    corpus = load_corpus(data)
    tokenizer = load_tokenizer(MODEL, data.max_length)
    tokens = tokenize(corpus, tokenizer, data)

    random = (
        np.random.default_rng(0)
        .normal(size=(len(tokens["train"]), len(corpus.label_names)))
        .astype(np.float32)
    )
    answers = datasets.Dataset.from_dict({LOGITS: random})
    taught = {**tokens, "train": Teaching(answers, {}).join(tokens["train"])}

    def step_ms(kind: str, short: bool, grouped: bool) -> float:
        marks: list[float] = []

        def mark(entries: Mapping[str, float], step: int) -> None:
            marks.append(time.perf_counter())

        trainer = TrainerConfig(
            num_train_epochs=1,
            eval_strategy="no",
            logging_steps=1,
            group_by_length=grouped,
            disable_tqdm=True,
        )
        recipe = QatConfig(
            "step", fp32_op_types=["LayerNorm"]
        )  # as in conf/qat/finetune_then_qat.yaml
        quantize = kind == "QAT"
        phase = Phase(
            "step",
            trainer,
            PhaseConfig(quantize),
            recipe,
            qat_config(recipe, ()) if quantize else None,
            None,
        )
        with tempfile.TemporaryDirectory() as folder:
            material = Material(
                splits=taught if kind == TAUGHT else tokens,
                tokenizer=tokenizer,
                collate=collator(tokenizer, data),
                loss=loss_function(
                    LossConfig(), tokens["train"]["labels"], len(corpus.label_names), 0.0
                ),
                distillation=inc_distillation(DistillationConfig("teacher"))
                if kind == TAUGHT
                else None,
                checkpoints=Checkpoints(Path(folder), resumed=False, chosen=None),
                log_metrics=mark,
                classification_token_only=short,
            )
            train(load_model(MODEL, corpus.label_names), phase, material, first_step=0)
        return 1000 * statistics.median(
            after - before
            for before, after in zip(marks[WARM_UP:], marks[WARM_UP + 1 :], strict=False)
        )

    print(f"{'':14}{'INCTrainer':>12}{'last layer cut':>16}{'and grouped':>13}  ms a step")
    shapes = ((False, False), (True, False), (True, True))
    rows = {
        kind: [step_ms(kind, short, grouped) for short, grouped in shapes]
        for kind in ("FP32", TAUGHT, "QAT")
    }
    for kind, row in rows.items():
        print(f"{kind:14}{row[0]:12.0f}{row[1]:16.0f}{row[2]:13.0f}")
    for kind in (TAUGHT, "QAT"):
        ratios = [own / fp32 for own, fp32 in zip(rows[kind], rows["FP32"], strict=True)]
        print(f"{kind + '/FP32':14}{ratios[0]:12.2f}{ratios[1]:16.2f}{ratios[2]:13.2f}")


if __name__ == "__main__":
    main()
