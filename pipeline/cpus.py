"""Count the CPUs that this process may use: a container's limit and the affinity mask included.

Nothing but the standard library is imported: a copy lies in every logged model.
"""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def available_cpus(root: Path = ROOT) -> int:
    """Return how many CPUs this process may keep busy, at least 1.

    That is the affinity mask (taskset, a cpuset, Slurm), or the quota of CPU time of the process's
    control group or of one above it if that is less (docker --cpus, Kubernetes' limits.cpu,
    systemd's CPUQuota). A quota of 1.5 CPUs counts as 1: two threads that wait for each other
    would be stopped in every period.

    Args:
        root: folder that /proc and the control groups are looked for in.
    """
    return max(1, min([_affinity(), *(int(quota) for quota in _quotas(root))]))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity mask


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas, in CPUs, that control groups of either version set."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in groups:
        _, controllers, group = line.split(":", 2)
        for folder, top in _folders(root, mounts, controllers.split(","), group):
            for level in (folder, *folder.parents):
                yield from _quota(level)
                if level == top:
                    break


def _folders(
    root: Path, mounts: list[str], controllers: list[str], group: str
) -> Iterator[tuple[Path, Path]]:
    """Yield where a group's files are mounted, and the mount (man 5 proc: mountinfo)."""
    for mount in mounts:
        fields, _, described = mount.partition(" - ")
        kind, _, options = described.split(" ", 2)
        is_ours = (kind == "cgroup2" and controllers == [""]) or (
            kind == "cgroup" and "cpu" in controllers and "cpu" in options.split(",")
        )
        if not is_ours:
            continue
        mounted, point = fields.split(" ")[3:5]
        top = root / point.lstrip("/")
        below = group.removeprefix(mounted.rstrip("/")).lstrip("/")
        # Within a container the group's name may be the host's, which the mount does not show.
        yield (top / below if (top / below).is_dir() else top), top


def _quota(folder: Path) -> Iterator[float]:
    """Yield the quota that a group's folder sets, if it sets one."""
    try:
        if (folder / "cpu.max").is_file():  # version 2
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8").strip()
    except OSError:
        return
    if quota not in ("max", "-1"):
        yield int(quota) / int(period)
