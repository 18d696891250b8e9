"""Whether the process that a RUNNING run belongs to is still there."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

PROCESS_TAG = "process"
HEARTBEAT_TAG = "heartbeat"
HEARTBEAT_SECONDS = 30.0
SILENT_SECONDS = 300.0  # ten heartbeats: a store that was away for minutes is not a death
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def process_tags() -> dict[str, str]:
    """Return the tags by which this process can be found again: machine, boot, pid and start, and a first heartbeat."""
    return {
        PROCESS_TAG: f"{_machine()} {os.getpid()} {psutil.Process().create_time():.2f}",
        **heartbeat(),
    }


def heartbeat() -> dict[str, str]:
    """Return the tag that says when its process was last known to live, in seconds since 1970."""
    return {HEARTBEAT_TAG: f"{time.time():.0f}"}


def is_dead(tags: Mapping[str, str]) -> bool:
    """Tell whether a run's process has ended.

    On the same machine since the same boot, its pid and start time decide. Of another machine only the heartbeat is known:
    a process that was silent for SILENT_SECONDS counts as dead.

    Args:
        tags: of the run; without the two tags nothing is known, and it counts as alive.
    """
    machine, _, process = tags.get(PROCESS_TAG, "").rpartition(" ")[0].rpartition(" ")
    started = tags.get(PROCESS_TAG, "").rpartition(" ")[2]
    if machine == _machine():
        return not _lives(int(process), float(started))
    return HEARTBEAT_TAG in tags and time.time() - float(tags[HEARTBEAT_TAG]) > SILENT_SECONDS


def _lives(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _machine() -> str:
    boot = (
        _BOOT_ID.read_text(encoding="utf-8").strip()
        if _BOOT_ID.is_file()
        else f"{psutil.boot_time():.0f}"
    )
    return f"{socket.gethostname()} {boot}"
