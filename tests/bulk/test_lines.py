import json
import re

import numpy as np
import pytest

from pipeline.bulk.lines import json_lines, table_rows

STEERING = "\x1b[2J\x1b]0;owned\x07\x9b31m"
ROW = np.array([0.25, 0.75])
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def test_a_table_s_texts_and_labels_do_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = table_rows(["cold", f"hot{STEERING}"], scores=True)
    table = capsys.readouterr().out + write((f"sun{STEERING}", ROW))
    assert "hot" in table
    assert "sun" in table
    assert not CONTROLS.search(table)


def test_json_lines_have_the_text_as_it_is_and_do_not_steer_the_terminal() -> None:
    line = json_lines(["cold", "hot"], scores=False)((f"sün{STEERING}", ROW))
    assert "sün" in line
    assert json.loads(line)["text"] == f"sün{STEERING}"
    assert not CONTROLS.search(line)
