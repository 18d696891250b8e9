import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.console import third_parties

ROOT = Path(__file__).parents[2]
PROGRAMS = "/usr/bin:/bin"
needs_another_cpu = pytest.mark.skipif(
    os.cpu_count() == 1 or shutil.which("taskset", path=PROGRAMS) is None,
    reason="this machine has one CPU or no taskset",
)
PROGRAM = """
import json, os
from pipeline.console import third_parties
before = dict(os.environ)
third_parties.prepare(computes="LAUNCHES" not in os.environ)
print(json.dumps(dict(os.environ.items() - before.items())))
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("always")
    warnings.warn("nobody can do anything about this")
"""


def prepared(prefix: list[str], environment: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PATH": PROGRAMS, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def on_one_cpu() -> list[str]:
    return ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]


@needs_another_cpu
def test_threads_are_as_many_as_the_affinity_mask_has_cpus() -> None:
    changed = prepared(on_one_cpu(), {})
    assert changed["OMP_NUM_THREADS"] == "1"
    assert changed["RAYON_NUM_THREADS"] == "1"


def test_what_the_user_has_set_stays() -> None:
    changed = prepared([], {"OMP_NUM_THREADS": "5", "GOMP_SPINCOUNT": "7"})
    assert "OMP_NUM_THREADS" not in changed
    assert "GOMP_SPINCOUNT" not in changed


def test_whoever_waits_without_spinning_goes_on_so() -> None:
    assert "GOMP_SPINCOUNT" not in prepared([], {"OMP_WAIT_POLICY": "PASSIVE"})


@needs_another_cpu
def test_a_launcher_leaves_the_threads_to_its_jobs() -> None:
    changed = prepared(on_one_cpu(), {"LAUNCHES": "1"})
    assert not {"OMP_NUM_THREADS", "GOMP_SPINCOUNT"} & changed.keys()


def test_a_user_without_a_home_has_a_scratch_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("HOME", "/nowhere")  # undone after the test
    monkeypatch.setenv("MPLCONFIGDIR", "/nowhere")
    monkeypatch.setattr(Path, "home", homeless)
    third_parties.prepare(computes=False)
    home = Path(os.environ["HOME"])
    assert home.is_dir()
    assert home.stat().st_mode & 0o777 == 0o700
    home.rmdir()


def test_fonts_go_to_the_cache() -> None:
    changed = prepared([], {"HOME": "/nowhere"})
    assert changed["MPLCONFIGDIR"] == "/nowhere/.cache/matplotlib"


@pytest.mark.parametrize("package", ["MLFLOW_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"])
def test_usage_statistics_are_off(package: str) -> None:
    assert prepared([], {})[package] in ("1", "true")
