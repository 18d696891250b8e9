from pathlib import Path

import datasets
import pandas as pd
import pytest
from transformers import AutoTokenizer

from pipeline.config.schema import DatasetConfig
from pipeline.data.corpus import load_corpus
from pipeline.data.tokens import collator, tokenize
from pipeline.errors import PipelineError


def test_tokens_are_cut_and_both_lengths_are_kept(micro_corpus: Path, micro_model: Path) -> None:
    config = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=8)
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    corpus = load_corpus(config)
    tokens = tokenize(corpus, tokenizer, config)["train"]
    for text, row in zip(corpus.splits["train"]["text"], tokens, strict=True):
        expected = tokenizer(text, truncation=True, max_length=8)
        assert {key: row[key] for key in expected} == dict(expected)
        assert row["num_tokens"] == len(tokenizer(text)["input_ids"])
        assert row["length"] == min(8, row["num_tokens"])


@pytest.mark.parametrize(("padding", "width"), [("longest", 5), ("max_length", 16)])
def test_a_batch_is_padded_to_its_longest_or_to_the_maximum(
    micro_model: Path, padding: str, width: int
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    collate = collator(tokenizer, DatasetConfig(name="micro", max_length=16, padding=padding))
    batch = collate(
        [
            {"input_ids": [2, 9, 3], "attention_mask": [1] * 3},
            {"input_ids": [2, 9, 9, 9, 3], "attention_mask": [1] * 5},
        ]
    )
    assert tuple(batch["input_ids"].shape) == (2, width)


def test_tokens_are_made_once_for_equal_texts_and_tokenizers(
    micro_corpus: Path, micro_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    config = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=16)
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    first = tokenize(load_corpus(config), tokenizer, config)
    kept = list(tmp_path.glob("int8-text-classifiers/*/train"))
    assert len(kept) == 1

    def again(*_: object, **__: object) -> None:
        raise AssertionError("tokenized a second time")

    monkeypatch.setattr(datasets.Dataset, "map", again)
    tokenizer("rain", truncation=True, max_length=3, padding="max_length")  # is no other tokenizer
    assert tokenize(load_corpus(config), tokenizer, config)["train"][:] == first["train"][:]
    other = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=8)
    with pytest.raises(AssertionError, match="a second time"):
        tokenize(load_corpus(other), tokenizer, other)


def test_the_side_that_texts_are_cut_on_is_part_of_their_tokens(
    micro_corpus: Path, micro_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    config = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=5)
    right = AutoTokenizer.from_pretrained(micro_model)
    left = AutoTokenizer.from_pretrained(micro_model, truncation_side="left")
    tokens = [tokenize(load_corpus(config), each, config)["train"] for each in (right, left)]
    assert tokens[0]["input_ids"] != tokens[1]["input_ids"]


@pytest.mark.parametrize("damage", ["cut", "emptied", "removed", "another split"])
def test_damaged_tokens_are_made_anew(
    micro_corpus: Path,
    micro_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    config = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=16)
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    first = tokenize(load_corpus(config), tokenizer, config)["test"][:]
    (file,) = tmp_path.glob("int8-text-classifiers/*/test/*.arrow")
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "emptied":
        file.write_bytes(b"")
    elif damage == "removed":
        file.unlink()
    else:
        (file.parents[1] / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert tokenize(load_corpus(config), tokenizer, config)["test"][:] == first


def test_a_cache_that_cannot_be_written_is_done_without(
    micro_corpus: Path, micro_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")
    config = DatasetConfig(name="micro", data_dir=str(micro_corpus), max_length=16)
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    assert len(tokenize(load_corpus(config), tokenizer, config)["test"]) == 60


def test_pairs_are_tokenized_as_pairs_and_kept_as_one_text(
    tmp_path: Path, micro_model: Path
) -> None:
    rows = [("the snow\twas cold", "ice", "yes"), ("fire", "winter and frost", "no")] * 4
    frame = pd.DataFrame(rows, columns=["one", "two", "label"])
    for split in ("train", "validation", "test"):
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
    where = {"name": "pairs", "data_dir": str(tmp_path), "text_column": "one"}
    config = DatasetConfig(**where, text_pair_column="two", max_length=8)
    corpus = load_corpus(config)
    assert corpus.splits["train"]["text"][0] == "the snow was cold\tice"
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    tokens = tokenize(corpus, tokenizer, config)["train"]
    assert (
        tokens["input_ids"][0]
        == tokenizer("the snow was cold", "ice", truncation=True, max_length=8)["input_ids"]
    )
    assert 1 in tokens["token_type_ids"][0]
    with pytest.raises(
        PipelineError,
        match=r"text_pair_column='three' is not in .*train.csv; its columns are: one, two, label",
    ):
        load_corpus(DatasetConfig(**where, text_pair_column="three"))
    frame.assign(two=["", *frame["two"][1:]]).to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(PipelineError, match="line 2 "):
        load_corpus(config)
