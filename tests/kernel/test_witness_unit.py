"""A witness under its unit, with all that forbids it: a live systemd, installed as the unit and docs/agent.md say."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.kernel import node
from tests.kernel.conftest import NAME, key_pair
from tests.kernel.node import CHECKOUT, CLIENT_ADDRESS, CLIENT_HOST
from tests.kernel.systemd import UNITS, journal, run, shown, succeeds, verify
from tests.waiting import eventually
from wgfleet.protocol.keys import PrivateKey
from wgfleet.protocol.messages import ProbeRequest, ProbeResult, ProbeTarget

pytestmark = pytest.mark.kernel

WITNESS = "wgfleet-witness.service"
USER = "wgfleet-witness"
STATE = Path("/var/lib/wgfleet-witness")
CALLER = Path("/var/lib/kernel-vm-witness-panel")
PORT = 51830
TARGET_PRIVATE, TARGET_PUBLIC = key_pair(11)
PROBE_PRIVATE, PROBE_PUBLIC = key_pair(12)


@pytest.fixture(scope="module", autouse=True)
def _witness() -> Iterator[None]:
    """Install and enroll it as its unit says, with an interface of the kernel to look at; stop it at the end."""
    node.install()
    run("cp", f"packaging/systemd/{WITNESS}", f"{UNITS}/", cwd=CHECKOUT)
    (made,) = re.findall(r"^#\s+(useradd .*)$", (UNITS / WITNESS).read_text(), re.MULTILINE)
    run(*made.split())
    node.enroll("runuser", "-u", USER, "--", caller=CALLER, state=STATE)
    run("ip", "-n", CLIENT_HOST, "link", "add", "wgt", "type", "wireguard")
    wg = node.inside(CLIENT_HOST, "wg", "set", "wgt", "private-key", "/dev/stdin", "listen-port", str(PORT))
    run(*wg, "peer", PROBE_PUBLIC, stdin=TARGET_PRIVATE)
    run("ip", "-n", CLIENT_HOST, "link", "set", "wgt", "up")
    run("systemctl", "daemon-reload")
    if not succeeds("systemctl", "enable", "--now", WITNESS):
        raise AssertionError("\n".join(journal("--unit", WITNESS)))
    yield
    run("systemctl", "disable", "--now", WITNESS)
    run("ip", "-n", CLIENT_HOST, "link", "delete", "wgt")


def looks(key: PrivateKey = PROBE_PRIVATE) -> ProbeResult:
    target = ProbeTarget(f"{CLIENT_ADDRESS}:{PORT}", TARGET_PUBLIC, key)
    answer = node.call(
        "POST", "/v1/probe", ProbeRequest(interface=NAME, targets=(target,), timeout_s=5.0), caller=CALLER
    )
    assert answer.is_success, answer.text
    return msgspec.json.decode(answer.content, type=ProbeResult)


def test_it_runs_as_nobody_of_importance_and_its_unit_is_sound() -> None:
    assert node.answers(CALLER), "systemctl returns when it serves"
    assert verify(str(UNITS / WITNESS)) == ""
    status = Path(f"/proc/{shown(WITNESS, 'MainPID')}/status").read_text()
    owner = run("id", "-u", USER).strip()
    for which in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert re.search(rf"^{which}:\s*0+$", status, re.MULTILINE), (which, status)
    assert re.search(rf"^Uid:\s*{owner}\s+{owner}\s", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\s*2$", status, re.MULTILINE)
    assert STATE.stat().st_mode & 0o777 == 0o700


def test_it_looks_at_wireguard_of_a_kernel_and_carries_none() -> None:
    assert list(looks().answered) == [f"{CLIENT_ADDRESS}:{PORT}"]
    assert looks(key_pair(13)[0]).unanswered
    assert node.call("GET", "/v1/status", caller=CALLER).json()["backend"] == "witness"
    assert node.call("PUT", "/v1/wg/wg0", {}, caller=CALLER).is_client_error


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_systemd_brings_back_one_that_is_killed_or_hangs(signal: str) -> None:
    before = shown(WITNESS, "MainPID")
    run("systemctl", "kill", f"--signal={signal}", "--kill-whom=main", WITNESS)
    eventually(lambda: shown(WITNESS, "MainPID") not in {"0", before}, 300, every_s=1)
    eventually(lambda: node.answers(CALLER), every_s=0.5)
    assert looks().answered


def test_nothing_that_it_needs_is_forbidden() -> None:
    assert not [line for line in journal("--unit", WITNESS) if "EPERM" in line or "not permitted" in line]


def test_it_stops_at_once() -> None:
    run("systemctl", "stop", WITNESS)
    assert shown(WITNESS, "Result") == "success"
