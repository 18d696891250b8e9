from collections.abc import Iterator, Sequence

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline.config.schema import register
from pipeline.sweeps import sweepers
from pipeline.sweeps.composing import Composer
from tests.conftest import CONF

LINES = [
    ["experiment=quickstart"],
    ["experiment=quickstart", "trainer.seed=2"],
    ["trainer.seed=3", "qat=direct", "experiment=quickstart", "trainer.learning_rate=1e-4"],
    ["experiment=quickstart", "qat=none", "model.layers=[1,4]", "objective=[accuracy,loss]"],
    ["experiment=quickstart", "+distillation=teacher", "distillation.teacher=a b/c:d"],
    ["experiment=compress", "dataset.name='x, y'", "dataset.max_length=64"],
    ["experiment=quickstart", "trainer={seed:4,num_train_epochs:2.0}", "tracking.keep=none"],
    ["experiment=quickstart", "trainer.seed=1", "trainer={seed:4}"],
    ["experiment=quickstart", "dataset.data_dir=${model.name_or_path}", "sweep.name=null"],
]


class Counted:
    """Hydra's loader; counts what it has composed."""

    def __init__(self, loader: ConfigLoader) -> None:
        self.get_group_options = loader.get_group_options
        self.loads = 0
        self._loader = loader

    def load_sweep_config(self, config: DictConfig, line: list[str]) -> DictConfig:
        self.loads += 1
        return self._loader.load_sweep_config(config, line)


@pytest.fixture
def compose() -> Iterator[tuple[Composer, Counted]]:
    """Compose jobs of a multirun, and count how often Hydra does it."""
    register()
    sweepers.register()
    with initialize_config_dir(str(CONF)):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", [], RunMode.MULTIRUN)
        counted = Counted(loader)
        yield Composer(counted, config), counted  # type: ignore[arg-type]


def as_hydra(counted: Counted, compose: Composer, line: Sequence[str]) -> DictConfig:
    config = counted.load_sweep_config(compose._config, list(line))
    with open_dict(config):
        config.pop("hydra")
    return config


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_a_config_is_what_hydra_makes_of_the_same_line(
    compose: tuple[Composer, Counted], line: list[str]
) -> None:
    composer, counted = compose
    composer(["experiment=quickstart", "trainer.seed=9", "model.layers=[2,3]"])
    expected = as_hydra(counted, composer, line)
    for _ in range(2):
        config = composer(line)
        assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected)
        assert OmegaConf.to_object(config) == OmegaConf.to_object(expected)


def test_jobs_that_differ_in_values_are_read_and_merged_once(
    compose: tuple[Composer, Counted],
) -> None:
    composer, counted = compose
    lines = [
        [f"trainer.seed={seed}", f"qat={qat}", "experiment=quickstart"]
        for seed in range(5)
        for qat in ("none", "direct")
    ]
    read = [(config.trainer.seed, config.qat.name) for config in map(composer, lines)]
    assert read == [(seed, qat) for seed in range(5) for qat in ("none", "direct")]
    assert counted.loads == 2


@pytest.mark.parametrize(
    "wrong",
    ["trainer.sed=1", "trainer.seed=x", "qat=nothing", "trainer@here=default", "~trainer.sed"],
)
def test_what_hydra_refuses_is_refused_in_its_words(
    compose: tuple[Composer, Counted], wrong: str
) -> None:
    composer, counted = compose
    line = ["experiment=quickstart", wrong]
    with pytest.raises(HydraException) as expected:
        as_hydra(counted, composer, line)
    with pytest.raises(type(expected.value)) as raised:
        composer(line)
    assert str(raised.value) == str(expected.value)
