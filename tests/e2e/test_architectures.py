"""Every architecture through QAT, save, reload and the exports, with random weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    CamembertConfig,
    CamembertModel,
    DebertaConfig,
    DebertaModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    DistilBertTokenizerFast,
    ElectraConfig,
    ElectraModel,
    ElectraTokenizerFast,
    GPT2Config,
    GPT2Model,
    MobileBertConfig,
    MobileBertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizerFast,
    SqueezeBertConfig,
    SqueezeBertModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from pipeline.errors import PipelineError
from pipeline.inference.classifier import TextClassifier
from pipeline.models.export import check_exportable
from tests.conftest import Output, micro_rows

Command = Callable[..., Output]
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}
NAMED = {name: f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}


def word_pieces(folder: Path, like: Path, kind: type) -> int:
    """Save the micro model's WordPiece tokenizer as another class's; return its size."""
    tokenizer = AutoTokenizer.from_pretrained(like)
    special = {f"{name}_token": token for name, token in NAMED.items()}
    kind(
        tokenizer_object=tokenizer.backend_tokenizer, model_max_length=64, **special
    ).save_pretrained(folder)
    return len(tokenizer)


def byte_pairs(folder: Path, corpus: Path) -> int:
    """Train and save a byte-level BPE tokenizer, RoBERTa's kind; return its size."""
    trained = ByteLevelBPETokenizer()
    texts = pd.read_csv(corpus / "train.csv")["text"]
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(texts, vocab_size=400, special_tokens=special, show_progress=False)
    trained.save_model(str(folder))
    tokenizer = RobertaTokenizerFast(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=64
    )
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def encoder(kind: str, folder: Path, like: Path, corpus: Path) -> PreTrainedModel:
    roberta = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
    if kind == "distilbert":
        size = word_pieces(folder, like, DistilBertTokenizerFast)
        shape = {
            "dim": 32,
            "n_layers": 2,
            "n_heads": 2,
            "hidden_dim": 64,
            "max_position_embeddings": 66,
        }
        return DistilBertModel(DistilBertConfig(vocab_size=size, **shape))
    if kind == "electra":
        size = word_pieces(folder, like, ElectraTokenizerFast)
        return ElectraModel(ElectraConfig(vocab_size=size, embedding_size=16, **SHAPE))
    if kind == "roberta":
        return RobertaModel(
            RobertaConfig(vocab_size=byte_pairs(folder, corpus), **SHAPE, **roberta)
        )
    if kind == "xlm-roberta":
        return XLMRobertaModel(
            XLMRobertaConfig(vocab_size=byte_pairs(folder, corpus), **SHAPE, **roberta)
        )
    if kind == "camembert":
        return CamembertModel(
            CamembertConfig(vocab_size=byte_pairs(folder, corpus), **SHAPE, **roberta)
        )
    size = word_pieces(folder, like, ElectraTokenizerFast)
    if kind == "mpnet":  # does not take the token_type_ids of this tokenizer
        return MPNetModel(MPNetConfig(vocab_size=size, **SHAPE))
    if kind == "modernbert":
        special = {f"{name}_token_id": 0 for name in ("pad", "cls", "sep", "bos", "eos")}
        return ModernBertModel(ModernBertConfig(vocab_size=size, **special, **SHAPE))
    if kind == "squeezebert":  # its layers are convolutions
        groups = {f"{name}_groups": 2 for name in ("q", "k", "v", "intermediate", "output")}
        return SqueezeBertModel(
            SqueezeBertConfig(vocab_size=size, embedding_size=32, **groups, **SHAPE)
        )
    if kind == "gpt2":
        return GPT2Model(
            GPT2Config(
                vocab_size=size, n_embd=32, n_layer=2, n_head=2, n_positions=66, pad_token_id=0
            )
        )
    if kind == "deberta":
        return DebertaModel(DebertaConfig(vocab_size=size, **SHAPE))
    if kind == "albert":
        return AlbertModel(AlbertConfig(vocab_size=size, embedding_size=16, **SHAPE))
    if kind == "mobilebert":
        small = {"embedding_size": 32, "intra_bottleneck_size": 16, "num_feedforward_networks": 1}
        return MobileBertModel(MobileBertConfig(vocab_size=size, **small, **SHAPE))
    return DebertaV2Model(DebertaV2Config(vocab_size=size, **SHAPE))


@pytest.fixture
def made(tmp_path: Path, micro_model: Path, micro_corpus: Path) -> Callable[[str], Path]:
    def make(kind: str) -> Path:
        folder = tmp_path / kind
        folder.mkdir()
        torch.manual_seed(0)
        encoder(kind, folder, micro_model, micro_corpus).save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize(
    "kind",
    [
        "distilbert",
        "electra",
        "roberta",
        "xlm-roberta",
        "camembert",
        "albert",
        "mobilebert",
        "modernbert",
        "mpnet",
        "squeezebert",
    ],
)
def test_an_architecture_goes_through_qat_save_reload_and_onnx(
    command: Command, micro: list[str], store: str, made: Callable[[str], Path], kind: str
) -> None:
    typed = [item for item in micro if not item.startswith(("model.", "export="))]
    typed += [
        f"model.name_or_path={made(kind)}",
        "export=all",
        "export.max_accuracy_loss=1",
        "trainer.max_steps=4",
        "qat.phases.qat.num_train_epochs_factor=1",
    ]
    output = command(*typed)
    assert output.code == 0, output.err
    client = MlflowClient(store)
    (run,) = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()]
    )
    metrics = run.data.metrics
    # The reloaded INT8 model is the one that was converted, and the FP32 export the model that was
    # trained.
    assert metrics["int8/reload_max_abs_difference"] == 0
    assert metrics["onnx_fp32/loss"] == pytest.approx(metrics["fp32/loss"], abs=1e-4)
    for variant in ("onnx_int8", "openvino_int8"):
        assert metrics[f"{variant}/loss"] == pytest.approx(metrics["int8/loss"], abs=0.05)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "roberta"])
def test_pairs_of_texts_go_the_same_way(
    command: Command,
    micro: list[str],
    store: str,
    made: Callable[[str], Path],
    micro_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    tried: list[int | None] = []

    def check(encoder: PreTrainedModel, max_length: int, sep_token_id: int | None) -> None:
        tried.append(sep_token_id)
        check_exportable(encoder, max_length, sep_token_id)

    monkeypatch.setattr("pipeline.prepare.check_exportable", check)
    for split, count in (("train", 120), ("validation", 30), ("test", 30)):
        first, second = micro_rows(count, count), micro_rows(count, count + 1)
        same = (
            first["label"].sample(frac=1, random_state=1).to_numpy() == second["label"].to_numpy()
        )
        frame = pd.DataFrame(
            {
                "question": first["text"],
                "answer": second["text"],
                "label": np.where(same, "yes", "no"),
            }
        )
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
    model = micro_model if kind == "bert" else made(kind)
    typed = [
        item for item in micro if not item.startswith(("model.", "export=", "dataset.data_dir"))
    ]
    typed += [
        f"model.name_or_path={model}",
        f"dataset.data_dir={tmp_path}",
        "export=all",
        "export.max_accuracy_loss=1",
    ]
    output = command(
        *typed,
        "dataset.text_column=question",
        "dataset.text_pair_column=answer",
        "trainer.max_steps=4",
        "qat.phases.qat.num_train_epochs_factor=1",
    )
    assert output.code == 0, output.err
    client = MlflowClient(store)
    (run,) = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()]
    )
    with_types = kind in ("bert", "electra")
    separator = AutoTokenizer.from_pretrained(model).sep_token_id
    assert tried == [separator if with_types else None], "the graph is tried before training"
    # The export is given texts and finds the second one itself.
    assert run.data.metrics["onnx_fp32/loss"] == pytest.approx(
        run.data.metrics["fp32/loss"], abs=1e-5
    )
    assert run.data.metrics["int8/reload_max_abs_difference"] == 0

    folder = Path(run.info.artifact_uri.removeprefix("file://")) / "onnx_fp32"
    test = pd.read_csv(tmp_path / "test.csv")
    tokenizer = AutoTokenizer.from_pretrained(folder.parent / "fp32")
    trained = AutoModelForSequenceClassification.from_pretrained(folder.parent / "fp32")
    with torch.inference_mode():
        one = tokenizer(test["question"][0], test["answer"][0], return_tensors="pt")
        wanted = trained(**one).logits.numpy()
    classifier = TextClassifier(folder)
    found = classifier.logits([f"{test['question'][0]}\t{test['answer'][0]}"])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with pytest.raises(PipelineError, match="'alone' is one text; this model takes pairs"):
        classifier.logits(["alone"])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("deberta", "the INT8 model that Neural Compressor 3.7 loads gives other answers"),
        ("deberta-v2", "the INT8 model that Neural Compressor 3.7 loads gives other answers"),
        ("gpt2", "its layers are transformers' Conv1D"),
    ],
)
def test_an_architecture_that_cannot_be_quantized_is_refused_before_training(
    command: Command, micro: list[str], made: Callable[[str], Path], kind: str, reason: str
) -> None:
    typed = [item for item in micro if not item.startswith("model.")]
    typed += [f"model.name_or_path={made(kind)}", "trainer.max_steps=2"]
    output = command(*typed)
    assert output.code == 2
    assert f"{kind} cannot be quantized: {reason}" in output.error
    assert "phase" not in output.err
    assert command(*typed, "qat=none").code == 0
