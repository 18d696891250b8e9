"""Train and time static embeddings under a linear head.

python _static_embeddings.py MODEL DATA OUT

model2vec distills the token embeddings of an encoder, and scikit-learn's logistic regression learns
on their mean. It needs an environment of its own with model2vec[distill], scikit-learn and pandas:
model2vec 0.10 asks for huggingface-hub 1, which transformers 4 does not run on. MODEL is a
directory with an encoder, or static embeddings of the Hub (minishlab/potion-base-8M); DATA has
train.csv and test.csv; OUT is made. Prints what was measured as a line of JSON.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from model2vec import StaticModel
from model2vec.distill import distill
from sklearn.linear_model import LogisticRegression

SECONDS = 0.5  # of a turn
TURNS = 7


def main(model: str, data: str, output: str) -> None:
    """Train, measure and print.

    Args:
        model: directory of an encoder, or static embeddings of the Hub.
        data: folder with train.csv and test.csv.
        output: folder to make, for the size.
    """
    train, test = (pd.read_csv(Path(data) / f"{split}.csv") for split in ("train", "test"))
    started = time.perf_counter()
    embeddings = distill(model) if Path(model).is_dir() else StaticModel.from_pretrained(model)
    embeddings.save_pretrained(output)
    embeddings = StaticModel.from_pretrained(output)
    head = LogisticRegression(max_iter=1000).fit(
        embeddings.encode(list(train["text"])), train["label"]
    )
    training_s = time.perf_counter() - started
    right = head.predict(embeddings.encode(list(test["text"]))) == test["label"].to_numpy()
    np.save(Path(output) / "head.npy", head.coef_)
    size = sum(file.stat().st_size for file in Path(output).glob("*.*") if file.name != "README.md")
    words = " ".join(test["text"]).split()

    def ms(texts: int, length: int) -> float:
        batch = [" ".join(words[row * length : (row + 1) * length]) for row in range(texts)]
        times = []
        for _ in range(TURNS):
            until = time.perf_counter() + SECONDS
            while (begun := time.perf_counter()) < until:
                head.predict_proba(embeddings.encode(batch))
                times.append(time.perf_counter() - begun)
        return 1000 * statistics.median(times)

    measured = {
        "accuracy": float(np.mean(right)),
        "size_mb": size / 1e6,
        "training_s": training_s,
        "p50_ms": {length: ms(1, length) for length in (16, 32, 128)},
        "texts_per_s": 32 / ms(32, 32) * 1000,
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
