from pipeline.data.rows import listed


def test_a_name_that_would_steer_the_terminal_is_listed_as_python_writes_it() -> None:
    assert listed(["hot", "sün", " cold", "wet\x1b[2J"]) == "hot, sün, ' cold', 'wet\\x1b[2J'"
