"""Tell whether the process that a RUNNING run belongs to is still alive."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from pipeline.names import HEARTBEAT_TAG, PROCESS_TAG

HEARTBEAT_SECONDS = 30.0
SILENT_SECONDS = 300.0  # ten heartbeats: a store may be away for some minutes
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


def process_tags() -> dict[str, str]:
    """Return the tags that identify this process: where its pid counts, pid, start, heartbeat."""
    started = psutil.Process().create_time()
    return {PROCESS_TAG: f"{_pid_scope()} {os.getpid()} {started:.2f}", **heartbeat()}


def heartbeat() -> dict[str, str]:
    """Return the tag that says when this process was alive, in seconds since 1970."""
    return {HEARTBEAT_TAG: f"{time.time():.0f}"}


def is_dead(tags: Mapping[str, str]) -> bool:
    """Tell whether a run's process has ended.

    On the same machine, since the same boot and in the same PID namespace, pid and start time
    decide. On another machine or in another container the heartbeat alone is known: a process that
    is silent for SILENT_SECONDS counts as dead.

    Args:
        tags: tags of the run; without the process's tags it counts as alive.
    """
    scope, _, pid = tags.get(PROCESS_TAG, "").rpartition(" ")[0].rpartition(" ")
    started = tags.get(PROCESS_TAG, "").rpartition(" ")[2]
    if scope == _pid_scope():
        return not _is_alive(int(pid), float(started))
    return HEARTBEAT_TAG in tags and is_silent(tags)


def is_silent(tags: Mapping[str, str]) -> bool:
    """Tell whether a run's process has given no sign of life for SILENT_SECONDS.

    Args:
        tags: tags of the run; without the process's tags it counts as silent.
    """
    return time.time() - float(tags.get(HEARTBEAT_TAG, "0")) > SILENT_SECONDS


def _is_alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _pid_scope() -> str:
    """Name what a pid is unique in: machine, boot and, on Linux, PID namespace.

    Two containers of one machine may share its name and its boot, and count their pids each.
    """
    boot, namespace = f"{psutil.boot_time():.0f}", ""
    if _BOOT_ID.is_file():
        boot = _BOOT_ID.read_text(encoding="utf-8").strip()
    if _PID_NAMESPACE.is_symlink():
        namespace = f" {_PID_NAMESPACE.readlink()}"
    return f"{socket.gethostname()} {boot}{namespace}"
