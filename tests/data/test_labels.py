import pytest

from pipeline.data.labels import classes_of
from pipeline.errors import PipelineError


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["7", "007", "010"], ("007", "010", "7")),
        (["1e3", "1000"], ("1000", "1e3")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["True", "False"], ("False", "True")),
        (["²", "1"], ("1", "²")),
    ],
)
def test_labels_keep_their_spelling(labels: list[str], names: tuple[str, ...]) -> None:
    classes = classes_of(labels, None, None)
    assert classes.names == names
    assert {names[id_]: id_ for id_ in classes.ids.values()} == classes.ids


def test_ids_and_names_are_told_apart_by_train() -> None:
    assert classes_of(["b", "a"], ["b", "a"], None).ids == {"b": 0, "a": 1}
    by_id = classes_of(["1", "0"], ["b", "a"], None)
    assert (by_id.names, by_id.ids["1"], by_id.ids["1.0"]) == (("b", "a"), 1, 1)
    assert classes_of(["1", "2"], ["1", "2"], None).ids == {"1": 0, "2": 1}


def test_ids_of_some_names_alone_are_told(caplog: pytest.LogCaptureFixture) -> None:
    classes_of(["0", "1"], ["sadness", "joy"], None)
    assert not caplog.text
    classes_of(["0", "1"], ["sadness", "joy", "love", "anger"], None)
    assert "0 is sadness, 1 is joy; it has no text of love, anger" in caplog.text


def test_declared_classes_keep_their_ids_and_may_be_renamed_or_reordered() -> None:
    declared = ["2", "1", "0"]
    assert classes_of(["0", "1", "2"], None, declared).ids == {"2": 0, "1": 1, "0": 2}
    renamed = classes_of(["0", "1", "2"], ["x", "y", "z"], declared)
    assert (renamed.names, renamed.ids["2"]) == (("x", "y", "z"), 0)
    assert classes_of(["0", "1", "2"], ["0", "1", "2"], declared).ids["0"] == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            (["a", "c"], ["a", "b"], None),
            "label 'c' of train is not in dataset.label_names, .*a, b",
        ),
        ((["0", "2"], ["a", "b"], None), "label '0' of train is not in dataset.label_names"),
        ((["a", "b"], ["x", "y", "z"], ["a", "b"]), "has 3 names; the dataset declares 2 classes"),
        ((["a", "-1"], None, ["a", "b"]), "label '-1' of train is no id of the dataset's classes"),
    ],
)
def test_a_label_without_a_class_is_refused(arguments: tuple, line: str) -> None:
    with pytest.raises(PipelineError, match=line):
        classes_of(*arguments)
