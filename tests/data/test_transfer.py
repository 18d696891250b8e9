from collections import Counter

import datasets

from pipeline.data.corpus import Corpus
from pipeline.data.transfer import TRANSFER, transfer_corpus
from pipeline.names import TRAIN

TEXTS = ["a b c d", "e f g", "h", "好看的电影"]
HALVES = {"a b", "c d", "e", "f g", "h", "", "好看的", "电影"}


def corpus() -> Corpus:
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1]})
    return Corpus("micro", ("no", "yes"), {TRAIN: rows}, "here")


def texts(count: int, seed: int) -> list[str]:
    return transfer_corpus(corpus(), count, seed).splits[TRANSFER][:]["text"]


def test_a_transfer_text_is_two_halves_of_training_texts() -> None:
    possible = {f"{first} {second}".strip() for first in HALVES for second in HALVES}
    drawn = Counter(texts(2000, seed=0))
    assert set(drawn) <= possible
    assert {"a b c d", "a b f g", "c d e", "好看的 电影"} <= set(drawn), "every half is drawn"


def test_the_seed_decides_the_draws() -> None:
    assert texts(50, seed=1) == texts(50, seed=1)
    assert texts(50, seed=1) != texts(50, seed=2)


def test_the_name_and_the_classes_stay() -> None:
    made = transfer_corpus(corpus(), 5, seed=0)
    assert (made.name, made.label_names, list(made.splits)) == ("micro", ("no", "yes"), [TRANSFER])
    assert len(made.splits[TRANSFER]) == 5
