"""Keep what runs can share, such as a tokenized corpus, in a folder of limited size."""

import contextlib
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import TypeVar

import datasets
from filelock import FileLock, Timeout

from pipeline.errors import DiskFullError, PipelineError

LIMIT_VARIABLE = "PIPELINE_CACHE_GB"
DEFAULT_LIMIT_GB = 10.0
BYTES_PER_GB = 1e9
FOLDER = "int8-text-classifiers"
UNFINISHED = ".part"
LOCK = ".lock"
# What a cache says that is another user's, on a file system that is read-only or full, or that has
# no locks. Any other error is of what was to be written, and would come again.
UNWRITABLE = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ENOLCK,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
    }
)
Value = TypeVar("Value")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cleared:
    """What was removed from the cache.

    Args:
        entries: number of entries.
        size_mb: their size, in MB of 1,000,000 bytes.
    """

    entries: int
    size_mb: float


def cached(key: str, write: Callable[[Path], None], read: Callable[[Path], Value]) -> Value:
    """Read an entry of the cache, after writing it if it is missing or damaged.

    Processes that want the same entry at once wait for the first, and say so. An entry appears
    under its name when it is whole. Where the cache cannot be written, the entry is made for this
    call alone: that is no reason not to train.

    Args:
        key: name of the entry, out of what decides its content (config.identity).
        write: writes the content into a folder that does not exist yet.
        read: reads the content; what it maps into memory stays after the files are gone. Whatever
            it raises is damage, but for a DiskFullError.
    """
    folder, limit_gb = cache_folder(), _limit_gb()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / key):
            value = _read_or_write(folder / key, write, read)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        with tempfile.TemporaryDirectory(prefix="pipeline-") as scratch:
            write(Path(scratch) / key)
            return read(Path(scratch) / key)
    _trim(folder, folder / key, limit_gb)
    return value


def cache_folder() -> Path:
    """Return the folder of what runs share: beside the Hugging Face datasets."""
    return Path(datasets.config.HF_DATASETS_CACHE) / FOLDER


def clear() -> Cleared:
    """Remove every entry that no process is writing, and say how much that was."""
    entries = _entries(cache_folder())
    removed = [size for folder, size in entries.items() if _remove(folder)]
    return Cleared(len(removed), sum(removed) / 1e6)


@contextlib.contextmanager
def _locked(entry: Path) -> Iterator[None]:
    """Keep an entry to one process at a time."""
    lock = FileLock(entry.with_name(f"{entry.name}{LOCK}"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not entry.is_dir():  # one that is there is only read, which takes no time to speak of
            log.info("another process is making %s; waiting for it", entry)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _read_or_write(
    folder: Path, write: Callable[[Path], None], read: Callable[[Path], Value]
) -> Value:
    if folder.is_dir():
        try:
            value = read(folder)
        except DiskFullError:  # of a copy: the entry is whole
            raise
        except Exception:  # Arrow, JSON and the file system have no common base for damage
            log.warning("%s is damaged and made anew", folder)
            shutil.rmtree(folder)
        else:
            with contextlib.suppress(OSError):  # the cache may be another user's
                os.utime(folder)
            return value
    unfinished = folder.with_name(folder.name + UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        write(unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return read(folder)


def _trim(folder: Path, used: Path, limit_gb: float) -> None:
    """Remove the entries that were used longest ago until the cache is within its limit."""
    entries = _entries(folder)
    excess = sum(entries.values()) - limit_gb * BYTES_PER_GB
    for entry in sorted(entries, key=_last_use):
        if excess <= 0:
            return
        if entry != used and _remove(entry):
            excess -= entries[entry]


def _limit_gb() -> float:
    typed = os.environ.get(LIMIT_VARIABLE, "")
    try:
        limit = float(typed or DEFAULT_LIMIT_GB)
    except ValueError:
        limit = nan
    if not limit >= 0:
        raise PipelineError(
            f"{LIMIT_VARIABLE}={typed} is not a number of gigabytes, such as {DEFAULT_LIMIT_GB:g}."
        )
    return limit


def _entries(folder: Path) -> dict[Path, int]:
    """Return the entries with their sizes in bytes, those that were never finished included."""
    entries: dict[Path, int] = {}
    if folder.is_dir():
        for entry in sorted(path for path in folder.iterdir() if path.is_dir()):
            with contextlib.suppress(OSError):  # another process has removed it
                entries[entry] = sum(file.stat().st_size for file in entry.rglob("*"))
    return entries


def _last_use(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:
        return 0.0


def _remove(entry: Path) -> bool:
    """Remove an entry, unless a process is reading or writing it."""
    name = entry.name.removesuffix(UNFINISHED)
    try:
        with FileLock(entry.with_name(f"{name}{LOCK}"), timeout=0):
            shutil.rmtree(entry, ignore_errors=True)
            return not entry.exists()
    except (OSError, Timeout):
        return False
