from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from pipeline.errors import PipelineError
from pipeline.models.vocabulary import cut_model, cut_tokenizer, kept_ids


@pytest.fixture
def texts(micro_corpus: Path) -> list[str]:
    return [
        text
        for text in pd.read_csv(micro_corpus / "train.csv")["text"]
        if "river" not in text and "again" not in text
    ]


def rows(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts)["input_ids"]


def test_texts_of_the_corpus_get_the_same_logits_from_fewer_embeddings(
    micro_model: Path, texts: list[str], tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    model = AutoModelForSequenceClassification.from_pretrained(micro_model, num_labels=3).eval()
    kept = kept_ids(tokenizer, rows(tokenizer, texts))
    assert len(kept) < len(tokenizer)
    before = {
        text: model(**tokenizer(text, return_tensors="pt")).logits.detach() for text in texts[:20]
    }

    smaller = cut_tokenizer(tokenizer, kept)
    smaller.save_pretrained(tmp_path)
    cut_model(model, kept)
    assert model.config.vocab_size == model.get_input_embeddings().num_embeddings == len(kept)
    for loaded in (smaller, AutoTokenizer.from_pretrained(tmp_path)):
        assert loaded.pad_token_id == model.config.pad_token_id
        for text, logits in before.items():
            torch.testing.assert_close(
                model(**loaded(text, return_tensors="pt")).logits.detach(), logits, rtol=0, atol=0
            )


def test_a_word_that_the_corpus_lacks_is_spelt_not_lost(
    micro_model: Path, texts: list[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    assert tokenizer.tokenize("river") == ["river"]
    smaller = cut_tokenizer(tokenizer, kept_ids(tokenizer, rows(tokenizer, texts)))
    pieces = smaller.tokenize("river")
    assert len(pieces) > 1
    assert "".join(piece.removeprefix("##") for piece in pieces) == "river"
    assert smaller("river")["input_ids"][0] == smaller.cls_token_id
    assert smaller.unk_token_id not in smaller("river")["input_ids"]


def test_another_kind_of_tokenizer_is_refused() -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    with pytest.raises(PipelineError, match="needs a WordPiece tokenizer; this one is BPE"):
        kept_ids(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE())), [[0]])


def test_padding_keeps_its_row(micro_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(micro_model)
    model = AutoModelForSequenceClassification.from_pretrained(micro_model)
    pad = model.get_input_embeddings().weight[tokenizer.pad_token_id].detach().clone()
    kept = kept_ids(tokenizer, [])
    cut_model(model, kept)
    assert np.searchsorted(kept, tokenizer.pad_token_id) == model.config.pad_token_id
    torch.testing.assert_close(
        model.get_input_embeddings().weight[model.config.pad_token_id].detach(), pad
    )
