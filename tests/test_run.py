"""A chapter of a run by itself; tests/e2e/test_runs.py has whole runs."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline import run
from pipeline.config.schema import ExportConfig
from pipeline.errors import PipelineError
from pipeline.evaluation.results import Answers, result_of
from pipeline.models.artifact import Artifact

VALIDATION, TEST = np.arange(60) % 3, (np.arange(60) + 1) % 3


def answers(predicted: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[predicted]


def test_an_export_that_loses_accuracy_on_validation_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class AlwaysLikeTest:
        def __init__(self, _: Path) -> None:
            pass

        def logits(self, texts: Sequence[str]) -> np.ndarray:
            return answers(TEST)

    file = Artifact("onnx_int8", Path("onnx_int8"))
    exported = SimpleNamespace(artifact=file, trained_variant="int8")
    monkeypatch.setattr(run, "export_stages", lambda *_: [exported])
    monkeypatch.setattr(run, "_stored", lambda _, artifact: artifact)
    monkeypatch.setattr(run, "TextClassifier", AlwaysLikeTest)
    config = SimpleNamespace(export=ExportConfig(max_accuracy_loss=0.01))
    tracker = SimpleNamespace(log_figures=lambda _: None)
    context = SimpleNamespace(config=config, scratch=None, tracker=tracker)
    splits = {split: {"text": ["rain"] * 60} for split in ("validation", "test")}
    prepared = SimpleNamespace(
        inputs=None,
        model_config=None,
        corpus=SimpleNamespace(splits=splits),
        test=SimpleNamespace(labels=TEST),
        validation=SimpleNamespace(labels=VALIDATION),
    )
    right = (Answers(answers(labels), labels) for labels in (TEST, VALIDATION))
    trained = {"int8": result_of(Artifact("int8", Path("int8")), *right)}
    with pytest.raises(PipelineError, match="validation accuracy of 0.0000, 1.0000 below int8"):
        run.export_and_compare(context, prepared, [], trained)
