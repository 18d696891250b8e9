from pipeline.errors import nearest


def test_the_closest_value_is_named_first() -> None:
    assert (
        nearest("learning_rat", ["learning_rate", "seed", "optim"]) == "did you mean learning_rate?"
    )


def test_all_values_are_named_when_none_is_close() -> None:
    assert nearest("xyz", ["direct", "none"]) == "accepted: direct, none."
