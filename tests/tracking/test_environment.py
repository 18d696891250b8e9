from importlib.metadata import version

from pipeline.tracking.environment import environment_tags


def test_the_environment_is_told() -> None:
    tags = environment_tags()
    assert tags["version.torch"] == version("torch")
    assert len(tags["git.commit"].split("-")[0]) in (7, 40)
    assert tags["cpu.model"]
    assert 1 <= int(tags["cpu.threads"]) <= int(tags["cpu.count"])
