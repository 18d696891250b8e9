import json
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.tracking import liveness
from pipeline.tracking.liveness import HEARTBEAT_TAG, PROCESS_TAG, is_dead, process_tags


def test_this_process_lives_and_one_that_ended_does_not() -> None:
    assert not is_dead(process_tags())
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = psutil.Process(process.pid).create_time()
    tags = {
        PROCESS_TAG: f"{liveness._pid_scope()} {process.pid} {started:.2f}",
        HEARTBEAT_TAG: f"{time.time():.0f}",
    }
    assert not is_dead(tags)
    process.kill()
    deadline = time.monotonic() + 10
    while not is_dead(tags):  # a zombie is dead, as soon as the signal has arrived
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.wait()
    assert is_dead(tags)


def test_a_pid_that_was_given_to_another_process_since_is_dead() -> None:
    own = process_tags()[PROCESS_TAG].rpartition(" ")[0]
    assert is_dead({PROCESS_TAG: f"{own} 12345.00"})


IN_A_CONTAINER = ["unshare", "--map-root-user", "--fork", "--pid", "--mount-proc"]


@pytest.mark.skipif(
    subprocess.run([*IN_A_CONTAINER, "true"], check=False, capture_output=True).returncode != 0,
    reason="makes no PID namespaces",
)
def test_a_run_in_another_container_of_the_same_machine_is_known_by_its_heartbeat() -> None:
    program = "import json; from pipeline.tracking.liveness import process_tags as tags; "
    program += "print(json.dumps(tags()), flush=True); input()"
    with subprocess.Popen(
        [*IN_A_CONTAINER, sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        tags = json.loads(process.stdout.readline())
        assert not is_dead(tags)
        process.communicate("\n", timeout=60)
    assert is_dead({**tags, HEARTBEAT_TAG: f"{time.time() - 3600:.0f}"})


def test_of_a_run_that_named_no_pid_namespace_its_heartbeat_decides() -> None:
    host, boot, *_ = process_tags()[PROCESS_TAG].split()
    of_0_1_0 = {PROCESS_TAG: f"{host} {boot} 1 1.00", HEARTBEAT_TAG: f"{time.time():.0f}"}
    assert not is_dead(of_0_1_0)


def test_of_another_machine_only_its_heartbeat_is_known() -> None:
    elsewhere = {PROCESS_TAG: "node7 some-boot 1 1.00"}
    assert not is_dead({**elsewhere, HEARTBEAT_TAG: f"{time.time() - 60:.0f}"})
    assert is_dead({**elsewhere, HEARTBEAT_TAG: f"{time.time() - 3600:.0f}"})
    assert not is_dead({}), "of a run that others logged, nothing is known"
