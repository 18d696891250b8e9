import pytest

from pipeline.errors import PipelineError
from pipeline.inference.texts import check_text, split_pairs


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" \t", "text 1 is empty."),
        (7, "text 1 is int, not text."),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "text 1 is not UTF-8."),
        ("a" * 100_001, "text 1 has 100,001 characters; at most 100,000 are accepted."),
    ],
)
def test_what_is_no_text_is_refused(text: object, line: str) -> None:
    with pytest.raises(PipelineError, match=line):
        check_text(text, "text 1")


def test_a_pair_is_two_texts_with_a_tab_between_them() -> None:
    assert split_pairs(["why?\tbecause", "a\tb\tc"]) == [("why?", "because"), ("a", "b\tc")]
    with pytest.raises(PipelineError, match="'alone' is one text; this model takes pairs"):
        split_pairs(["why?\tbecause", "alone"])
