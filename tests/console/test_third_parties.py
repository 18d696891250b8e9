import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, os
from pipeline.console import third_parties
before = dict(os.environ)
third_parties.prepare()
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
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_threads_are_as_many_as_the_affinity_mask_has_cpus() -> None:
    changed = prepared(["taskset", "--cpu-list", "0"], {})
    assert changed["OMP_NUM_THREADS"] == "1"
    assert changed["RAYON_NUM_THREADS"] == "1"


def test_what_the_user_has_set_stays() -> None:
    changed = prepared([], {"OMP_NUM_THREADS": "5", "GOMP_SPINCOUNT": "7"})
    assert "OMP_NUM_THREADS" not in changed
    assert "GOMP_SPINCOUNT" not in changed


@pytest.mark.parametrize("package", ["MLFLOW_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"])
def test_usage_statistics_are_off(package: str) -> None:
    assert prepared([], {})[package] in ("1", "true")
