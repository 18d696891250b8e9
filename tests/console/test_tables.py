import pandas as pd
import pytest

from pipeline.console.tables import show_fitted

STEERING = "\x1b[2J\x1b]0;owned\x07\x9b31m"


def test_no_title_heading_or_cell_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({f"label{STEERING}": [f"hot{STEERING}"], "text": ["sün"]})
    show_fitted(frame, f"a run{STEERING}", lambda _, value: str(value))
    shown = capsys.readouterr().out
    for word in ("a run", "label", "hot", "sün"):
        assert word in shown
    assert not {"\x1b", "\x9b", "\x07"} & set(shown)
