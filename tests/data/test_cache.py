import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from filelock import FileLock

from pipeline.console.disk import disk_errors
from pipeline.data import cache
from pipeline.data.cache import cached
from pipeline.errors import DiskFullError, PipelineError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    return cache.cache_folder()


def writing(text: str, size: int = 0) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / "value").write_text(text)
        (folder / "ballast").write_bytes(bytes(size))

    return write


def read(folder: Path) -> str:
    text = (folder / "value").read_text()
    if not text:
        raise ValueError("empty")
    return text


def refuse(folder: Path) -> None:
    raise AssertionError("the entry is there")


def test_an_entry_is_written_once() -> None:
    assert cached("a", writing("one"), read) == "one"
    assert cached("a", refuse, read) == "one"


@pytest.mark.parametrize("damage", ["emptied", "removed"])
def test_a_damaged_entry_is_made_anew(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cached("a", writing("one"), read)
    value = folder / "a" / "value"
    value.write_text("") if damage == "emptied" else value.unlink()
    assert cached("a", writing("two"), read) == "two"
    assert "is damaged and made anew" in caplog.text
    assert cached("a", refuse, read) == "two"


def test_what_fails_or_was_killed_leaves_no_entry(folder: Path) -> None:
    def fails(folder: Path) -> None:
        writing("half")(folder)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cached("a", fails, read)
    assert not [path for path in folder.iterdir() if path.is_dir()]
    writing("half")(folder / "a.part")  # as kill -9 leaves it
    assert cached("a", writing("whole"), read) == "whole"
    assert not (folder / "a.part").exists()


def test_a_cache_that_cannot_be_written_is_done_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    assert cached("a", writing("one"), read) == "one"
    assert folder.read_text().startswith("a file")


def test_a_full_disk_is_no_reason_to_stop(folder: Path) -> None:
    def full(path: Path) -> None:
        if folder in path.parents:
            raise OSError(28, "No space left on device")
        writing("elsewhere")(path)

    assert cached("a", full, read) == "elsewhere"


def test_processes_that_want_the_same_entry_wait_for_the_first() -> None:
    calls: list[str] = []

    def slow(folder: Path) -> None:
        calls.append("write")
        time.sleep(0.3)
        writing("one")(folder)

    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(cached("a", slow, read))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["one"] * 3
    assert calls == ["write"]


def test_who_waits_for_another_process_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def hold() -> None:
        with FileLock(folder / "a.lock"):
            held.set()
            time.sleep(0.3)

    caplog.set_level("INFO")
    folder.mkdir(parents=True)
    for write in (writing("one"), refuse):
        held = threading.Event()
        other = threading.Thread(target=hold)
        other.start()
        held.wait()
        assert cached("a", write, read) == "one"
        other.join()
    # Once: an entry that is there is only read.
    assert caplog.messages == [f"another process is making {folder / 'a'}; waiting for it"]


def test_the_entries_that_were_used_longest_ago_make_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.LIMIT_VARIABLE, "0.000025")  # 25 kB
    for age, key in ((300, "a"), (200, "b")):
        cached(key, writing(key, size=10_000), read)
        os.utime(folder / key, (time.time() - age,) * 2)
    cached("a", refuse, read)  # used again, so that b is the older one
    cached("c", writing("c", size=10_000), read)
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"a", "c"}
    cached("large", writing("large", size=90_000), read)
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"large"}, "it is in use"


def test_an_error_of_what_is_written_comes_once(folder: Path) -> None:
    tried = []

    def fails(target: Path) -> None:
        tried.append(target)
        raise ConnectionError("the hub is away")

    with pytest.raises(ConnectionError):
        cached("a", fails, read)
    assert len(tried) == 1


@pytest.mark.parametrize("typed", ["10 GB", "nan", "-1"])
def test_a_limit_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setenv(cache.LIMIT_VARIABLE, typed)
    with pytest.raises(PipelineError, match=f"PIPELINE_CACHE_GB={typed} is not a number"):
        cached("a", writing("one"), read)


def test_clearing_removes_everything_but_what_is_being_written(folder: Path) -> None:
    cached("a", writing("a", size=2_000_000), read)
    with cache.FileLock(folder / "b.lock"):
        writing("b")(folder / "b.part")
        cleared = cache.clear()
    assert cleared.entries == 1
    assert cleared.size_mb == pytest.approx(2, abs=0.1)
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"b.part"}
    assert cache.clear().entries == 1


def test_an_entry_is_whole_though_the_disk_of_its_copy_is_full(folder: Path) -> None:
    written: list[int] = []

    def write(entry: Path) -> None:
        written.append(1)
        entry.mkdir()

    def read(entry: Path) -> None:
        with disk_errors():
            raise OSError(errno.ENOSPC, "No space left on device")

    for _ in range(2):
        with pytest.raises(DiskFullError, match="a disk is full"):
            cached("teacher", write, read)
    assert written == [1]
