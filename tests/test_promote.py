"""python -m pipeline.promote without runs; tests/e2e/test_promotion.py has real ones."""

from types import SimpleNamespace

import pytest

from pipeline import promote
from pipeline.promotion import measurement
from pipeline.promotion.registry import Registry


def test_a_corpus_that_cannot_be_read_is_no_fault_of_the_store(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "texts.arrow")

    run = SimpleNamespace(run_id="0" * 32, digests={})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setattr(Registry, "shipped", lambda *_: run)
    monkeypatch.setattr(Registry, "config", lambda *_: SimpleNamespace(dataset=None))
    monkeypatch.setattr(measurement, "read_again", gone)
    assert promote.main(["0" * 32]) == 2
    assert capsys.readouterr().err.startswith("error: texts.arrow: No such file or directory")
