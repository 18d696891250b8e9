"""Train with INCTrainer alone, as somebody would write it: FP32, then QAT, evaluate, save.

CompressionTrainer is INCTrainer on the installed transformers, on which it does not run by itself.

python benchmarks/_bare_inctrainer.py MODEL DATA_DIR OUTPUT_DIR
"""

import sys

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset
from neural_compressor import QuantizationAwareTrainingConfig
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    TrainingArguments,
)
from transformers import set_seed as seed_everything

from pipeline.compression.upstream import CompressionTrainer

model_path, data_dir, output_dir = sys.argv[1:]
seed_everything(42)
tokenizer = AutoTokenizer.from_pretrained(model_path)
frames = {
    split: pd.read_csv(f"{data_dir}/{split}.csv", keep_default_na=False)
    for split in ("train", "validation", "test")
}
labels = ClassLabel(names=sorted(frames["train"]["label"].unique()))


def tokenize(frame: pd.DataFrame) -> Dataset:
    """Turn one split into tokens and label ids."""
    rows = Dataset.from_pandas(
        frame.assign(labels=frame["label"].map(labels.str2int))[["text", "labels"]]
    )
    return rows.map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True
    ).map(
        lambda batch: {"length": [len(ids) for ids in batch["input_ids"]]},
        batched=True,
        remove_columns=["text"],
    )


splits = {split: tokenize(frame) for split, frame in frames.items()}
model = AutoModelForSequenceClassification.from_pretrained(
    model_path, num_hidden_layers=2, num_labels=labels.num_classes, attn_implementation="eager"
)


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Compute the share of right labels."""
    is_right = np.argmax(prediction.predictions, -1) == prediction.label_ids
    return {"accuracy": float(is_right.mean())}


for phase, quantization, epochs, learning_rate in (
    ("fp32", None, 2, 3e-4),
    ("int8", QuantizationAwareTrainingConfig(), 1, 1e-4),
):
    trainer = CompressionTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=f"{output_dir}/{phase}",
            do_train=True,
            use_cpu=True,
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=64,
            optim="adamw_torch_fused",
            group_by_length=True,
            length_column_name="length",
            eval_strategy="epoch",
            logging_steps=10,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=42,
        ),
        quantization_config=quantization,
        task="text-classification",
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=compute_metrics,
    )
    trainer.train()
    print(phase, trainer.evaluate(splits["test"]))
    trainer.save_model(f"{output_dir}/{phase}")
    model = trainer.model
