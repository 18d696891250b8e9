import os
from pathlib import Path

import pytest

from pipeline.cpus import available_cpus

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = "35 25 0:30 {mounted} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def machine(root: Path, group: str, mount: str, files: dict[str, str]) -> Path:
    """Write what Linux would show to a process of a control group."""
    for name, text in {
        "proc/self/cgroup": f"{group}\n",
        "proc/self/mountinfo": f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mount}",
        **files,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("1600000 100000", 8),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, quota: str, cpus: int) -> None:
    root = machine(tmp_path, "0::/", V2, {"sys/fs/cgroup/cpu.max": f"{quota}\n"})
    assert available_cpus(root) == cpus


def test_the_least_quota_of_the_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/a.slice/cpu.max": "300000 100000\n",
        "sys/fs/cgroup/a.slice/b.scope/cpu.max": "max 100000\n",
    }
    assert available_cpus(machine(tmp_path, "0::/a.slice/b.scope", V2, files)) == 3


@pytest.mark.parametrize(
    ("group", "mounted", "folder"),
    [
        ("/docker/123", "/", "docker/123"),  # on the host
        ("/docker/123", "/docker/123", ""),  # within the container
        ("/docker/123", "/elsewhere", ""),  # within one whose names are the host's
    ],
)
def test_version_1_counts_as_well(tmp_path: Path, group: str, mounted: str, folder: str) -> None:
    files = {
        f"sys/fs/cgroup/cpu,cpuacct/{folder}/cpu.cfs_quota_us": "250000\n",
        f"sys/fs/cgroup/cpu,cpuacct/{folder}/cpu.cfs_period_us": "100000\n",
    }
    line = f"4:memory:/other\n3:cpu,cpuacct:{group}"
    assert available_cpus(machine(tmp_path, line, V1.format(mounted=mounted), files)) == 2


def test_no_quota_of_version_1_is_minus_one(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    root = machine(tmp_path, "3:cpu,cpuacct:/", V1.format(mounted="/"), files)
    assert available_cpus(root) == 8


def test_the_affinity_mask_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    root = machine(tmp_path, "0::/", V2, {"sys/fs/cgroup/cpu.max": "400000 100000\n"})
    assert available_cpus(root) == 2


def test_a_machine_without_control_groups_has_all_its_cpus(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 8
