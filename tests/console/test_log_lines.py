import logging
from logging.config import dictConfig

import pytest
from omegaconf import OmegaConf

from tests.conftest import CONF


def test_the_log_of_a_run_holds_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    file = CONF / "hydra" / "job_logging" / "console.yaml"
    config = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(config, dict)
    config["root"] = {}  # as it is, for the tests that follow
    config["loggers"] = {"written": {"level": "INFO", "handlers": ["console"], "propagate": False}}
    config["handlers"]["console"]["stream"] = "ext://sys.stderr"
    dictConfig({**config, "incremental": False})
    place = "https://me:password@host/train.csv?token=SECRET"
    logging.getLogger("written").warning("left out 1 of 2 rows: %s", place)
    assert capsys.readouterr().err == "left out 1 of 2 rows: https://***@host/train.csv?token=***\n"
