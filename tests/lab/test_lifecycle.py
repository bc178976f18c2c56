import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.snapshot import machine
from wgfleet.lab import network, processes, state
from wgfleet.lab.errors import LabError
from wgfleet.lab.waiting import wait_for

pytestmark = pytest.mark.lab


def test_down_leaves_nothing() -> None:
    before = machine()
    with state.temporary("pytesttwo", nodes=1, clients=1) as built:
        assert machine() != before
        built.host("node-1").run("wireguard-go", "wg0")
        assert processes.holders("pytesttwo")
    assert machine() == before
    assert not processes.holders("pytesttwo")


CRASH = """
import os, sys
from wgfleet.lab import network, processes, state
count = 0
original = processes.run
def run(*args, **kwargs):
    global count
    count += 1
    if count == int(sys.argv[1]):
        os.kill(os.getpid(), 9)
    return original(*args, **kwargs)
processes.run = run
with state.locked():
    state.begin("pytesttwo", 2, 1)
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 8, 10])
def test_what_a_crashed_lab_left_is_swept_by_the_next(step: int) -> None:
    before = machine()
    crashed = subprocess.run([sys.executable, "-c", CRASH, str(step)], check=False)
    assert crashed.returncode == -signal.SIGKILL
    with state.temporary("pytesttwo", nodes=1, clients=1) as built:
        built.host("client-1").run("ping", "-n", "-c", "1", "-w", "30", "-i", "0.2", built.host("node-1").address)
    assert machine() == before


@pytest.mark.parametrize("name", ["other", "pytesttwo"])
def test_a_second_lab_is_refused_with_the_way_out_and_the_first_stays(name: str) -> None:
    with state.lasting("pytesttwo", 0, 0):
        pass
    try:
        with pytest.raises(LabError, match="wgfleet lab down --name pytesttwo"), state.temporary(name, 0, 0):
            pass
        assert state.load("pytesttwo").host("panel").succeeds("true")
    finally:
        with state.locked():
            state.remove("pytesttwo")


# Where / is no mount, as in a chroot, /run is one of its own, or the tests would have no place for labs.
PRIVATE = "mount --make-rprivate / 2>/dev/null || mount --make-rprivate /run; mount -t tmpfs tmpfs /run"
IN_A_NETWORK_OF_ITS_OWN = (
    *("unshare", "--net", "--mount", "--propagation", "unchanged", "sh", "-ec"),
    f'{PRIVATE}; ip link set lo up; exec "$@"',
    "sh",
)
ELSEWHERE = """
import sys
from wgfleet.lab import state
with state.temporary("pytesttwo", 0, 0) as built:
    print("stands", flush=True)
    sys.stdin.readline()
    print(built.host("panel").succeeds("true"), flush=True)
"""


def test_a_lab_of_the_same_name_in_another_network_namespace_stands_beside_it() -> None:
    with subprocess.Popen(
        [*IN_A_NETWORK_OF_ITS_OWN, sys.executable, "-c", ELSEWHERE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as elsewhere:
        assert elsewhere.stdin is not None
        assert elsewhere.stdout is not None
        assert elsewhere.stdout.readline() == "stands\n"
        with state.temporary("pytesttwo", 0, 0):
            pass
        elsewhere.stdin.write("\n")
        elsewhere.stdin.flush()
        assert elsewhere.stdout.readline() == "True\n"
    assert elsewhere.returncode == 0


def test_a_lab_whose_network_namespace_is_gone_is_swept() -> None:
    before = machine()
    left = "from wgfleet.lab import state\nwith state.lasting('pytesttwo', 0, 0): pass"
    subprocess.run([*IN_A_NETWORK_OF_ITS_OWN, sys.executable, "-c", left], check=True)
    assert machine() != before
    with state.temporary("pytesttwo", 0, 0):
        pass
    assert machine() == before


def test_two_commands_at_once_are_refused() -> None:
    with state.locked(), pytest.raises(LabError, match="another wgfleet lab command"), state.locked():
        pass


def test_a_failing_build_says_which_command_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine()
    monkeypatch.setattr(network, "ROOT_ADDRESS", "not-an-address")
    with pytest.raises(LabError, match="not-an-address"), state.temporary("pytesttwo", 0, 0):
        pass
    assert machine() == before


def test_state_survives_in_a_file_that_only_root_reads() -> None:
    with state.lasting("pytesttwo", 1, 0) as lab:
        lab.result = {"api_key": "secret"}
    try:
        path = lab.directory / "state.json"
        assert path.stat().st_mode & 0o077 == 0
        assert json.loads(path.read_text())["phase"] == "up"
        assert state.load("pytesttwo") == lab
    finally:
        with state.locked():
            state.remove("pytesttwo")


def test_a_lab_that_fails_while_it_is_filled_is_removed_and_its_logs_are_kept(tmp_path: Path) -> None:
    before = machine()

    def fill(lab: state.Lab) -> None:
        log = lab.host("panel").start(["echo", "hello"], "greeting")
        wait_for(log.read_text, "the log is empty", within_s=30)
        raise LabError("oh")

    with pytest.raises(LabError, match="oh"), state.lasting("pytesttwo", 0, 0, logs=tmp_path) as lab:
        fill(lab)
    assert machine() == before
    assert (tmp_path / "panel" / "greeting.log").read_text() == "hello\n"
