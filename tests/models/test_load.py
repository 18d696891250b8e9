import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedModel,
    RobertaForSequenceClassification,
)

from pipeline.config.schema import ModelConfig
from pipeline.errors import PipelineError
from pipeline.models.load import (
    check_max_length,
    check_vocabulary,
    load_model,
    load_tokenizer,
)

LABELS = ("cold", "hot", "wet")


def copied(folder: Path, target: Path, changed: str, **values: object) -> Path:
    """Copy a model's directory, with other values in one of its JSON files."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    stored = json.loads((target / changed).read_text())
    (target / changed).write_text(json.dumps({**stored, **values}))
    return target


def test_the_head_has_one_logit_a_label_and_attention_is_eager(micro_model: Path) -> None:
    model = load_model(ModelConfig(str(micro_model)), LABELS).model
    assert model.config.id2label == {0: "cold", 1: "hot", 2: "wet"}
    assert model.classifier.out_features == 3
    assert model.config._attn_implementation == "eager"


def test_the_encoder_has_the_weights_of_the_checkpoint(micro_model: Path) -> None:
    model = load_model(ModelConfig(str(micro_model)), LABELS).model
    for name, weight in BertModel.from_pretrained(micro_model).state_dict().items():
        assert torch.equal(model.bert.state_dict()[name], weight), name


@pytest.mark.parametrize(
    ("config", "kept"),
    [({"num_hidden_layers": 1}, 1), ({"layers": [0]}, 0), ({"layers": [1]}, 1)],
)
def test_some_layers_can_be_kept_alone(
    micro_model: Path, tmp_path: Path, config: dict[str, object], kept: int
) -> None:
    cut = load_model(ModelConfig(str(micro_model), **config), LABELS).model
    whole = load_model(ModelConfig(str(micro_model)), LABELS).model
    assert len(cut.bert.encoder.layer) == cut.config.num_hidden_layers == 1
    for name, weight in cut.bert.encoder.layer[0].state_dict().items():
        assert torch.equal(whole.bert.encoder.layer[kept].state_dict()[name], weight)
    cut.save_pretrained(tmp_path)
    reloaded = type(cut).from_pretrained(tmp_path, attn_implementation="eager").eval()
    ids = torch.tensor([[2, 5, 3]])
    assert torch.equal(reloaded(ids).logits, cut.eval()(ids).logits)


def test_more_layers_than_there_are_are_refused(micro_model: Path) -> None:
    with pytest.raises(PipelineError, match=r"num_hidden_layers=3 but .* has 2 layers"):
        load_model(ModelConfig(str(micro_model), num_hidden_layers=3), LABELS)


def test_a_checkpoint_of_another_task_becomes_a_classifier(
    tmp_path: Path, micro_model: Path
) -> None:
    folder = copied(micro_model, tmp_path, "config.json", problem_type="regression")
    model = load_model(ModelConfig(str(folder)), LABELS).model
    ids, labels = torch.tensor([[2, 5, 3]]), torch.tensor([1])
    answer = model.eval()(input_ids=ids, labels=labels)
    assert torch.equal(answer.loss, torch.nn.functional.cross_entropy(answer.logits, labels))


@pytest.mark.parametrize(("types", "given"), [(1, False), (2, True)])
def test_an_encoder_with_one_token_type_is_given_none(
    tmp_path: Path, micro_model: Path, types: int, given: bool
) -> None:
    folder = copied(micro_model, tmp_path, "config.json", type_vocab_size=types)
    encoded = load_tokenizer(ModelConfig(str(folder)), 16)("one text", "and another")
    assert ("token_type_ids" in encoded) is given


@pytest.mark.parametrize(
    ("architecture", "options", "most"),
    [
        (BertForSequenceClassification, {}, 16),
        (RobertaForSequenceClassification, {"pad_token_id": 1}, 14),
    ],
)
def test_a_longer_text_than_the_table_of_positions_is_refused(
    architecture: type[PreTrainedModel], options: dict[str, int], most: int
) -> None:
    config = architecture.config_class(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=16,
        **options,
    )
    model = architecture(config)
    check_max_length(model, most)
    model(input_ids=torch.full((1, most), 5))
    with pytest.raises(PipelineError, match=f"max_length={most + 1} .* at most {most}"):
        check_max_length(model, most + 1)


def test_a_longer_text_than_a_decoder_has_positions_is_refused() -> None:
    shape = {"vocab_size": 20, "n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 16}
    model = GPT2ForSequenceClassification(GPT2Config(**shape))
    check_max_length(model, 16)
    with pytest.raises(PipelineError, match="max_length=17 .* at most 16"):
        check_max_length(model, 17)


def test_a_tokenizer_with_more_tokens_than_the_model_has_words_is_refused(
    micro_model: Path,
) -> None:
    model = load_model(ModelConfig(str(micro_model)), ("a", "b")).model
    words = model.config.vocab_size
    check_vocabulary(model, words - 1)
    with pytest.raises(PipelineError, match=f"has {words} words, .* gives token {words}"):
        check_vocabulary(model, words)


def test_a_longer_text_than_the_model_takes_is_refused(micro_model: Path) -> None:
    with pytest.raises(PipelineError, match=r"dataset.max_length=65 .* at most 64"):
        load_tokenizer(ModelConfig(str(micro_model)), 65)


@pytest.mark.parametrize(
    ("lost", "what"),
    [
        ("model.safetensors", "weights"),
        ("config.json", "config"),
        ("tokenizer.json vocab.txt", "tokenizer"),
    ],
)
def test_a_directory_that_lacks_something_says_what(
    tmp_path: Path, micro_model: Path, lost: str, what: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(micro_model, folder)
    for name in lost.split():
        (folder / name).unlink()
    with pytest.raises(PipelineError, match=rf"has no {what} .* it has: ") as caught:
        load_model(ModelConfig(str(folder)), LABELS)
    assert "\n" not in str(caught.value)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path, micro_model: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(micro_model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(PipelineError, match="cannot be loaded"):
        load_model(ModelConfig(str(folder)), LABELS)


def test_a_checkpoint_without_the_encoder_is_refused_instead_of_trained_from_noise(
    tmp_path: Path, micro_model: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(micro_model, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if "layer.1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        PipelineError, match=r"tensors are missing, .* among them bert.encoder.layer.1"
    ):
        load_model(ModelConfig(str(folder)), LABELS)


def test_an_encoder_of_another_shape_than_its_config_says_is_refused(
    tmp_path: Path, micro_model: Path
) -> None:
    folder = copied(micro_model, tmp_path, "config.json", max_position_embeddings=1000)
    with pytest.raises(PipelineError, match=r"of another shape than .*position_embeddings\."):
        load_model(ModelConfig(str(folder)), LABELS)


@pytest.mark.parametrize(
    ("names", "is_kept"),
    [(LABELS, True), (("LABEL_0", "LABEL_1", "LABEL_2"), True), (("wet", "hot", "cold"), False)],
)
def test_the_head_of_other_classes_is_drawn_anew(
    tmp_path: Path, micro_model: Path, names: tuple[str, ...], is_kept: bool
) -> None:
    trained = load_model(ModelConfig(str(micro_model)), LABELS).model
    torch.nn.init.constant_(trained.classifier.bias, 7)
    trained.config.id2label = dict(enumerate(names))
    trained.save_pretrained(tmp_path)
    for file in micro_model.glob("*token*"):
        shutil.copy(file, tmp_path)
    start = load_model(ModelConfig(str(tmp_path)), LABELS)
    assert bool(start.model.classifier.bias.eq(7).all()) is is_kept
    assert start.model.config.id2label == dict(enumerate(LABELS))
    assert ("classifier.weight" in start.new_parameters) is not is_kept
    assert torch.equal(start.model.bert.pooler.dense.weight, trained.bert.pooler.dense.weight)


def test_a_tokenizer_without_padding_fills_up_with_the_end_of_text_or_is_refused(
    tmp_path: Path, micro_model: Path
) -> None:
    folder = copied(micro_model, tmp_path / "endless", "tokenizer_config.json", pad_token=None)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(PipelineError, match=r"has no padding token, and no end of text"):
        load_tokenizer(ModelConfig(str(folder)), 16)
    ended = copied(folder, tmp_path / "ended", "tokenizer_config.json", eos_token="[SEP]")
    tokenizer = load_tokenizer(ModelConfig(str(ended)), 16)
    assert tokenizer.pad_token_id == tokenizer.sep_token_id


def test_a_tokenizer_file_that_was_cut_is_one_line(tmp_path: Path, micro_model: Path) -> None:
    folder = copied(micro_model, tmp_path, "config.json")
    file = folder / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(PipelineError, match=r"cannot be loaded: "):
        load_tokenizer(ModelConfig(str(folder)), 16)


def test_a_pickle_with_code_in_it_is_not_run(tmp_path: Path, micro_model: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "owned",))

    folder = tmp_path / "model"
    shutil.copytree(micro_model, folder)
    (folder / "model.safetensors").unlink()
    torch.save({"x": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(PipelineError, match="cannot be loaded"):
        load_model(ModelConfig(str(folder)), LABELS)
    assert not (tmp_path / "owned").exists()


def test_code_that_a_checkpoint_names_is_not_run(armed_classifier: Path) -> None:
    config = ModelConfig(str(armed_classifier))
    load_tokenizer(config, 16)
    load_model(config, LABELS)
    assert not (armed_classifier / "proof").exists()


def test_without_the_hub_the_error_says_how_to_run_from_local_files() -> None:
    with pytest.raises(
        PipelineError, match="model.name_or_path=DIR dataset=files dataset.data_dir=DIR"
    ):
        load_tokenizer(ModelConfig("prajjwal1/bert-tiny"), 128)
