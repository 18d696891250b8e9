"""What cutting the vocabulary to a corpus costs: size, and accuracy on test texts with words that training did not show.

python benchmarks/vocabulary.py [--run DIR] [--data-dir DIR]

DIR holds the artifacts of a run on that corpus (default: the newest run). Its FP32 model is cut as export.vocabulary=corpus
does and compared with itself.
"""

import argparse
from pathlib import Path

from pipeline.console import quiet

quiet.third_parties()

import numpy as np
from _process import newest_run
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.config.schema import DatasetConfig
from pipeline.data.corpus import collator, load_corpus, tokenize
from pipeline.evaluation.metrics import predict_logits
from pipeline.models.vocabulary import cut_model, cut_tokenizer, kept_ids


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path)
    parser.add_argument("--data-dir", default="assets/reviews")
    options = parser.parse_args()
    run = options.run or newest_run()
    full = AutoTokenizer.from_pretrained(run / "fp32")
    model = AutoModelForSequenceClassification.from_pretrained(
        run / "fp32", attn_implementation="eager"
    )
    label_names = [model.config.id2label[index] for index in range(model.config.num_labels)]
    data = DatasetConfig(name="corpus", data_dir=options.data_dir, label_names=label_names)
    corpus = load_corpus(data)
    labels = np.asarray(corpus.splits["test"]["label"])
    tokens = tokenize(corpus, full, data)
    kept = kept_ids(full, tokens["train"]["input_ids"])
    smaller = cut_tokenizer(full, kept)
    recut = tokenize(corpus, smaller, data)
    changed = np.array(
        [
            list(kept[row]) != other
            for row, other in zip(
                recut["test"]["input_ids"], tokens["test"]["input_ids"], strict=True
            )
        ]
    )
    before = predict_logits(model, tokens["test"], collator(full, data), 64).argmax(-1) == labels
    after = (
        predict_logits(cut_model(model, kept), recut["test"], collator(smaller, data), 64).argmax(
            -1
        )
        == labels
    )
    print(f"tokens kept: {len(kept):,} of {len(full):,}")
    print(f"test texts that are split otherwise: {changed.mean():.1%} of {len(labels):,}")
    print(
        f"accuracy, all test texts: {before.mean():.4f} with the full vocabulary, {after.mean():.4f} with the cut one"
    )
    print(
        f"accuracy, texts split otherwise: {before[changed].mean():.4f} and {after[changed].mean():.4f}"
    )


if __name__ == "__main__":
    main()
