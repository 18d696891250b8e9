"""What notebooks and scripts may rely on."""

from pathlib import Path

import pytest

from pipeline import api
from pipeline.errors import PipelineError
from tests.comparison.test_comparison import RUNS


def test_the_names_of_the_page_are_those_of_the_module() -> None:
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    assert sorted(api.__all__) == list(api.__all__)
    for name in api.__all__:
        assert getattr(api, name).__doc__
        assert f"`api.{name}(" in page


def test_a_config_is_composed_and_its_corpus_is_read(here: Path, micro_corpus: Path) -> None:
    typed = [f"model.name_or_path={here}", "dataset=files", f"dataset.data_dir={micro_corpus}"]
    config = api.compose(*typed, "trainer.seed=3")
    assert (config.trainer.seed, config.qat.name) == (3, "finetune_then_qat")
    corpus = api.load_corpus(config)
    assert corpus.label_names == ("cold", "hot", "wet")
    assert {name: len(rows) for name, rows in corpus.splits.items()} == {
        "train": 240,
        "validation": 60,
        "test": 60,
    }


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("qat=dirrect", "qat=dirrect is unknown; did you mean direct?"),
        ("trainer.sed=1", "trainer.sed is unknown; did you mean seed, "),
        ("trainer.seed=x", "trainer.seed"),
    ],
)
def test_what_is_mistyped_is_one_line(override: str, line: str) -> None:
    with pytest.raises(PipelineError, match=line) as caught:
        api.compose(override)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("override", ["rerun=" + "0" * 32, "sweep=small"])
def test_what_the_command_line_alone_does_is_refused(override: str) -> None:
    with pytest.raises(PipelineError, match="rerun and sweep are for the command line"):
        api.compose("model=minilm", "dataset=reviews", override)


def test_runs_that_cannot_be_compared_are_one_line() -> None:
    with pytest.raises(PipelineError, match="acuracy is logged by none of these 8 runs; did you"):
        api.compare(RUNS, "acuracy")
    with pytest.raises(PipelineError, match="none of these 0 runs"):
        api.compare([])


def test_runs_are_compared_in_a_table() -> None:
    table = api.compare(RUNS, "accuracy")
    assert table["accuracy"].iloc[0] == 0.9
    assert {"run", "recipe", "trainer.seed", "run_id"} <= set(table.columns)
