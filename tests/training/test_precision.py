import pytest
import torch
from transformers import (
    DebertaConfig,
    DebertaForSequenceClassification,
)

from pipeline.config.schema import TrainerConfig
from pipeline.errors import PipelineError
from pipeline.training.precision import answering, with_precision
from tests.conftest import micro_bert

SHAPE = {
    "vocab_size": 10,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


@pytest.fixture(params=["amx", "avx512_bf16", "none"])
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pretend a CPU with these instructions for bfloat16."""
    name: str = request.param
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: name == "amx")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: name == "avx512_bf16")
    return name


def test_a_phase_in_fp32_computes_in_bfloat16_where_the_cpu_has_instructions_for_it(
    instructions: str,
) -> None:
    model = micro_bert().train()
    drawn = torch.random.get_rng_state()
    chosen = with_precision(TrainerConfig(), quantizes=False, model=model)
    assert chosen == TrainerConfig(bf16=instructions != "none")
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), drawn), "training draws as without it"
    assert with_precision(TrainerConfig(), quantizes=True, model=model).bf16 is False


def test_a_teacher_answers_in_the_precision_of_an_fp32_phase(instructions: str) -> None:
    model = micro_bert().eval()
    input_ids = torch.arange(2, 10).reshape(2, 4)
    with torch.no_grad():
        exact = model(input_ids=input_ids).logits
        with answering(TrainerConfig(), model):
            logits = model(input_ids=input_ids).logits
        with answering(TrainerConfig(bf16=False), model):
            assert torch.equal(model(input_ids=input_ids).logits, exact)
    assert (logits.dtype == torch.bfloat16) is (instructions != "none")
    assert torch.allclose(logits.float(), exact, atol=0.01)


def test_a_model_that_cannot_compute_in_bfloat16_trains_in_fp32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    model = DebertaForSequenceClassification(DebertaConfig(**SHAPE))
    with caplog.at_level("INFO"):
        assert with_precision(TrainerConfig(), quantizes=False, model=model).bf16 is False
    assert "deberta does not take bfloat16: " in caplog.text
    with pytest.raises(PipelineError, match="trainer.bf16=true is not possible: deberta does not"):
        with_precision(TrainerConfig(bf16=True), quantizes=False, model=model)


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("quantizes", [False, True])
@pytest.mark.parametrize("asked", [False, True])
def test_what_the_trainer_group_says_holds_in_every_phase(quantizes: bool, asked: bool) -> None:
    asked_for = TrainerConfig(bf16=asked)
    assert with_precision(asked_for, quantizes, micro_bert()) == asked_for
