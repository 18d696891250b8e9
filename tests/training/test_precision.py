import pytest
import torch

from pipeline.config.schema import TrainerConfig
from pipeline.training.precision import uses_bfloat16


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
    assert uses_bfloat16(TrainerConfig(), quantizes=False) == (instructions != "none")
    assert not uses_bfloat16(TrainerConfig(), quantizes=True)


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("quantizes", [False, True])
@pytest.mark.parametrize("asked", [False, True])
def test_what_the_trainer_group_says_holds_in_every_phase(quantizes: bool, asked: bool) -> None:
    assert uses_bfloat16(TrainerConfig(bf16=asked), quantizes) == asked
