"""The key by which a sweep is recognized and continued."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from pipeline.config.resolve import resolve
from pipeline.config.schema import register
from pipeline.sweeps import sweepers
from pipeline.sweeps.plan import Plan, plan_of
from tests.conftest import CONF


def composed(*overrides: str) -> DictConfig:
    register()
    sweepers.register()
    with initialize_config_dir(str(CONF)):
        config = compose("config", list(overrides), return_hydra_config=True)
    with open_dict(config):
        config.hydra.overrides.task = [line for line in overrides if not line.startswith("hydra")]
    return config


def planned(*overrides: str, space: dict[str, str]) -> Plan:
    config = composed(*overrides)
    job = config.copy()
    with open_dict(job):
        job.pop("hydra")
    return plan_of(config, resolve(job), space)


@pytest.mark.usefixtures("here")
def test_storage_and_sweep_options_change_no_key_and_the_space_does() -> None:
    space = {"trainer.seed": "1,2"}
    plan = planned("experiment=quickstart", space=space)
    fresh = planned("experiment=quickstart", "sweep.fresh=true", space=space)
    assert fresh.key == plan.key
    assert planned("experiment=quickstart", space={"trainer.seed": "1,3"}).key != plan.key
    assert plan.name == "sweep·minilm·reviews·seed"
