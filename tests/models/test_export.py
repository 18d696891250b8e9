import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pipeline.config.schema import SHORTEST_TEXT, BenchmarkConfig
from pipeline.errors import PipelineError
from pipeline.evaluation.benchmark import benchmark
from pipeline.inference.classifier import TextClassifier
from pipeline.models.artifact import Artifact
from pipeline.models.export import ExportSettings, check_exportable, export, separator_of
from tests.conftest import CLASSES, micro_rows

TEXTS = [
    "rain and river",
    "the sun was full of fire today",
    "snow",
    "we walked home slowly again and again " * 20,
]


@pytest.fixture(scope="module")
def tokenizer(micro_model: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(micro_model)


@pytest.fixture(scope="module")
def model(micro_model: Path, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Train for some steps: random weights would answer every text nearly alike."""
    torch.manual_seed(0)
    names = list(CLASSES)
    trained = AutoModelForSequenceClassification.from_pretrained(
        micro_model, id2label=dict(enumerate(names)), attn_implementation="eager"
    )
    rows = micro_rows(96, seed=0)
    labels = torch.tensor([names.index(label) for label in rows["label"]])
    batch = tokenizer(list(rows["text"]), padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(trained.parameters(), lr=5e-3)
    for _ in range(30):
        trained(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return trained.eval()


def exported(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    quantized: tuple[str, ...] = ("Linear", "Embedding"),
    max_length: int = 16,
) -> dict[str, Artifact]:
    calibration = tokenizer(TEXTS[:3], truncation=True, max_length=max_length)["input_ids"]
    formats = ["onnx_fp32", "onnx_int8", "openvino_int8"]
    settings = ExportSettings(tokenizer, max_length, calibration, quantized)
    artifacts = export(model, settings, formats, folder)
    return {artifact.variant: artifact for artifact in artifacts}


def test_the_fp32_export_answers_like_torch_and_the_int8_ones_nearly(
    tmp_path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    with torch.inference_mode():
        batch = tokenizer(TEXTS, truncation=True, max_length=16, padding=True, return_tensors="pt")
        expected = model(**batch).logits.numpy()
    for variant, artifact in exported(tmp_path, model, tokenizer).items():
        classifier = TextClassifier(artifact.path)
        assert classifier.label_names == ("cold", "hot", "wet")
        spread = np.ptp(expected, axis=0).max()
        assert spread > np.abs(expected).max(), "the texts differ in their logits"
        tolerance = 1e-4 if variant == "onnx_fp32" else 0.15 * spread
        np.testing.assert_allclose(classifier.logits(TEXTS), expected, atol=tolerance)


def test_openvino_sees_few_lengths_none_longer_than_the_model_takes(
    tmp_path: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = exported(tmp_path, model, tokenizer, max_length=18)["openvino_int8"].path
    asked: list[tuple[int, int]] = []
    pad = np.pad

    def watched(array: np.ndarray, widths: tuple[tuple[int, int], ...]) -> np.ndarray:
        asked.append((array.shape[1], widths[1][1]))
        return pad(array, widths)

    monkeypatch.setattr("numpy.pad", watched)
    classifier = TextClassifier(path)
    texts = [" ".join(["rain"] * count) for count in range(1, 30)]
    alone = np.concatenate([classifier.logits([text]) for text in texts])
    assert {tokens + more for tokens, more in asked} == {4, 8, 12, 16, 18}
    np.testing.assert_array_equal(classifier.logits(texts), alone)


def test_texts_are_cut_by_the_stored_tokenizer(
    tmp_path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    path = exported(tmp_path, model, tokenizer)["onnx_fp32"].path
    assert json.loads((path / "tokenizer.json").read_text())["truncation"]["max_length"] == 16
    assert len(AutoTokenizer.from_pretrained(path)(TEXTS[3], truncation=True)["input_ids"]) == 16
    assert tokenizer.model_max_length > 16, "the run's own tokenizer stays as it is"


def test_a_model_of_very_short_texts_is_exported_and_timed(
    tmp_path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    check_exportable(model, SHORTEST_TEXT)
    artifacts = exported(tmp_path, model, tokenizer, max_length=SHORTEST_TEXT)
    timed = [artifacts[name] for name in ("onnx_int8", "openvino_int8")]
    for max_length in (SHORTEST_TEXT, None):
        times = benchmark(timed, TEXTS, max_length, BenchmarkConfig(1, 0.01, 1))
        assert all(each.lengths == (None,) for each in times.values())


def test_texts_are_cut_on_the_side_that_training_cut_on(
    tmp_path: Path, micro_model: Path, model: PreTrainedModel
) -> None:
    left = AutoTokenizer.from_pretrained(micro_model, truncation_side="left")
    folder = exported(tmp_path, model, left)["onnx_fp32"].path
    stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "rain " * 20 + "and snow"
    expected = left(text, truncation=True, max_length=16)["input_ids"]
    assert stored.encode(text).ids == expected
    right = AutoTokenizer.from_pretrained(micro_model)
    assert expected != right(text, truncation=True, max_length=16)["input_ids"]


def test_embeddings_are_int8_unless_they_are_to_stay_in_fp32(
    tmp_path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    for name in ("all", "linear"):
        (tmp_path / name).mkdir()
    everything = exported(tmp_path / "all", model, tokenizer)
    linear = exported(tmp_path / "linear", model, tokenizer, ("Linear",))
    embeddings_mb = 3 * model.get_input_embeddings().weight.numel() / 1e6  # 4 bytes against 1
    for variant in ("onnx_int8", "openvino_int8"):
        assert linear[variant].size_mb - everything[variant].size_mb == pytest.approx(
            embeddings_mb, rel=0.25
        )


@pytest.mark.parametrize("typed", [True, False])
def test_a_pair_is_exported_with_the_token_types_that_its_tokenizer_gives(
    tmp_path: Path, micro_model: Path, model: PreTrainedModel, typed: bool
) -> None:
    options = {} if typed else {"model_input_names": ["input_ids", "attention_mask"]}
    own = AutoTokenizer.from_pretrained(micro_model, **options)
    assert separator_of(own, pairs=True) == (own.sep_token_id if typed else None)
    assert separator_of(own, pairs=False) is None
    settings = ExportSettings(own, 32, [], ("Linear",), pairs=True)
    (artifact,) = export(deepcopy(model), settings, ["onnx_fp32"], tmp_path)
    with torch.inference_mode():
        expected = model(**own("rain and river", "snow today", return_tensors="pt")).logits.numpy()
        other = model(**own("rain and river snow today", return_tensors="pt")).logits.numpy()
    assert np.abs(expected - other).max() > 1e-3
    found = TextClassifier(artifact.path).logits(["rain and river\tsnow today"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_architecture_that_onnx_cannot_express_is_named(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spectral(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(input_ids.float() @ input_ids.float().T).real

    monkeypatch.setattr("pipeline.models.export.inference_graph", lambda *_: Spectral())
    with pytest.raises(
        PipelineError,
        match=r"bert cannot be exported to ONNX; choose export=none. .*linalg_eigvals",
    ):
        check_exportable(model, 16)
