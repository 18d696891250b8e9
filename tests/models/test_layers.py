import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    DebertaConfig,
    DistilBertConfig,
    ElectraConfig,
    FunnelConfig,
    GPT2Config,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMConfig,
)

from pipeline.config.schema import ModelConfig
from pipeline.errors import PipelineError
from pipeline.models.layers import keep_layers, kept_layers, learning_rate_factors

TINY = {"vocab_size": 20, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
TINY_DISTILBERT = {"vocab_size": 20, "dim": 8, "n_heads": 2, "hidden_dim": 8, "n_layers": 2}


def test_each_of_equal_parts_gives_its_middle_layer() -> None:
    architecture = BertConfig(num_hidden_layers=6)
    kept = [kept_layers(ModelConfig("a", num_hidden_layers=n), architecture) for n in range(1, 7)]
    assert kept == [(3,), (1, 4), (1, 3, 5), (0, 2, 3, 5), (0, 1, 3, 4, 5), None]
    assert kept_layers(ModelConfig("a"), architecture) is None


def test_layers_that_are_not_there_or_not_to_be_chosen_are_refused() -> None:
    six = BertConfig(num_hidden_layers=6)
    with pytest.raises(PipelineError, match=r"layers=\[1, 6\] but a has the layers 0 to 5"):
        kept_layers(ModelConfig("a", layers=[1, 6]), six)
    with pytest.raises(PipelineError, match="all layers of ALBERT have the same weights; use"):
        kept_layers(ModelConfig("a", layers=[1]), AlbertConfig(num_hidden_layers=6))


@pytest.mark.parametrize(
    "architecture",
    [
        BertConfig(**TINY, num_hidden_layers=2),
        DistilBertConfig(**TINY_DISTILBERT),
        ElectraConfig(**TINY, num_hidden_layers=2, embedding_size=4),
        RobertaConfig(**TINY, num_hidden_layers=2),
    ],
    ids=lambda architecture: architecture.model_type,
)
def test_learning_rates_fall_from_the_last_layer_to_the_embeddings(
    architecture: PretrainedConfig,
) -> None:
    model = AutoModelForSequenceClassification.from_config(architecture)
    factors = learning_rate_factors(model, 0.25)
    assert set(factors) == {name for name, _ in model.named_parameters()}
    for name, factor in factors.items():
        layer = next((part for part in name.split(".") if part.isdigit()), None)
        below = 0.25 if "embeddings" in name else 1.0
        assert factor == {"0": 0.5, "1": 1.0}.get(layer, below), name


def test_positions_beside_the_layers_and_layers_in_parts_have_their_rates_too() -> None:
    deberta = DebertaConfig(**TINY, num_hidden_layers=2, relative_attention=True)
    mpnet = MPNetConfig(**TINY, num_hidden_layers=2)
    xlm = XLMConfig(vocab_size=20, emb_dim=8, n_heads=2, n_layers=2)
    expected = {
        "deberta.encoder.rel_embeddings.weight": (deberta, 0.25),
        "mpnet.encoder.relative_attention_bias.weight": (mpnet, 0.25),
        "transformer.ffns.0.lin1.weight": (xlm, 0.5),
        "transformer.attentions.1.q_lin.weight": (xlm, 1.0),
    }
    for name, (architecture, factor) in expected.items():
        model = AutoModelForSequenceClassification.from_config(architecture)
        factors = learning_rate_factors(model, 0.25)
        assert factors[name] == factor, name
        assert factors[list(factors)[-1]] == 1, "the head"


@pytest.mark.parametrize(
    "architecture",
    [
        BertConfig(**TINY, num_hidden_layers=4),
        XLMConfig(vocab_size=20, emb_dim=8, n_heads=2, n_layers=4),
        GPT2Config(vocab_size=20, n_embd=8, n_head=2, n_layer=4, pad_token_id=0),
    ],
    ids=lambda architecture: architecture.model_type,
)
def test_a_model_of_fewer_layers_answers_as_one_that_is_built_from_its_config(
    architecture: PretrainedConfig,
) -> None:
    model = AutoModelForSequenceClassification.from_config(architecture).eval()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    keep_layers(model, (1, 3))
    assert torch.equal(torch.get_rng_state(), random_state), "later draws are the same"
    assert model.config.num_hidden_layers == 2
    stored = AutoModelForSequenceClassification.from_config(model.config).eval()
    stored.load_state_dict(model.state_dict())
    first = [key for key in model.state_dict() if ".1." in key]
    assert all(
        torch.equal(model.state_dict()[key], weights[key.replace(".1.", ".3.")]) for key in first
    )
    with torch.inference_mode():
        ids = torch.tensor([[3, 7, 5]])
        torch.testing.assert_close(model(ids).logits, stored(ids).logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        (
            FunnelConfig(vocab_size=20, d_model=8, n_head=2, d_head=4, d_inner=8),
            "funnel cannot be cut to fewer than its 12 layers, because its layers are not in one",
        ),
        (
            FunnelConfig(vocab_size=20, block_sizes=[4], d_model=8, n_head=2, d_head=4, d_inner=8),
            "funnel cannot be cut to fewer than its 4 layers, because This model does not support",
        ),
        (
            BartConfig(
                vocab_size=20,
                d_model=16,
                encoder_layers=4,
                decoder_layers=4,
                encoder_ffn_dim=8,
                decoder_ffn_dim=8,
            ),
            "bart cannot be cut to fewer than its 4 layers, because its config counts them in anot",
        ),
    ],
)
def test_a_model_that_cannot_be_cut_is_refused_in_one_line(
    architecture: PretrainedConfig, reason: str
) -> None:
    model = AutoModelForSequenceClassification.from_config(architecture)
    with pytest.raises(PipelineError) as caught:
        keep_layers(model, (1, 3))
    line = str(caught.value)
    assert f"model.num_hidden_layers=2: {reason}" in line
    assert line.endswith("; leave out model.num_hidden_layers and model.layers.")
    assert "\n" not in line


def test_layers_with_the_same_weights_and_a_factor_of_one_leave_the_rate_as_it_is() -> None:
    albert = AlbertConfig(**TINY, num_hidden_layers=2, embedding_size=4)
    shared = AutoModelForSequenceClassification.from_config(albert)
    assert learning_rate_factors(shared, 0.25) == {}
    bert = AutoModelForSequenceClassification.from_config(BertConfig(**TINY, num_hidden_layers=2))
    assert learning_rate_factors(bert, 1.0) == {}
