"""The agent under its unit, with all that forbids it: a live systemd, and WireGuard of the real kernel."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.kernel import node
from tests.kernel.conftest import desired, key_pair
from tests.kernel.node import AGENT, CLIENT_ADDRESS, CLIENT_HOST, FLOATING, NEIGHBOUR, NEIGHBOUR_ADDRESS, pings
from tests.kernel.systemd import UNITS, journal, run, shown, succeeds, verify
from tests.waiting import eventually
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.messages import Takeover, TakeoverPeer

NODE_PRIVATE, NODE_PUBLIC = key_pair(1)
CLIENT_PRIVATE, CLIENT_PUBLIC = key_pair(2)
WANTED = desired(
    {CLIENT_PUBLIC: DesiredPeer(("10.9.0.2/32",))},
    private_key=NODE_PRIVATE,
    addresses=("10.9.0.1/24",),
    routes=("10.10.0.0/24",),
    masquerade=True,
)
HOLDING = node.with_floating(WANTED, FLOATING)
ELSEWHERE = "02:00:00:00:00:99"


pytestmark = pytest.mark.kernel


def index() -> str:
    return Path("/sys/class/net/wg0/ifindex").read_text()


def floats() -> bool:
    return f" {FLOATING}/32 " in run("ip", "-o", "address", "show", "dev", "eth0")


def serves() -> bool:
    """Whether the client reaches the node, and through it somebody who knows nothing of the tunnel."""
    return pings(CLIENT_HOST, "10.9.0.1") and pings(CLIENT_HOST, NEIGHBOUR_ADDRESS)


def capabilities(status: str, which: str) -> int:
    (found,) = re.findall(rf"^{which}:\s*(\w+)$", status, re.MULTILINE)
    return int(found, 16)


@pytest.fixture(scope="module", autouse=True)
def _agent() -> Iterator[None]:
    """Install and enroll it, with a client that uses it; stop it at the end, enabled.

    On its way it shows that wireguard-go runs under the unit and outlives a restart: to start an agent takes long here.
    """
    node.install()
    node.enroll()
    more = UNITS / f"{AGENT}.d" / "userspace.conf"
    more.parent.mkdir()
    more.write_text("[Service]\nExecStart=\nExecStart=/usr/local/bin/wgfleet agent run --backend userspace\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "wgfleet-agent")
    assert node.answers(), "systemctl returns when the agent serves"
    assert node.call("GET", "/v1/status").json()["backend"] == "userspace"
    assert node.applied(HOLDING).drift == ()
    assert floats()
    before, process = index(), run("pgrep", "-x", "wireguard-go")
    more.unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "wgfleet-agent")
    assert (index(), run("pgrep", "-x", "wireguard-go"), floats()) == (before, process, True)
    assert node.call("DELETE", "/v1/wg/wg0").status_code == httpx.codes.NO_CONTENT
    assert not floats()
    assert node.applied(HOLDING).drift == ()
    node.connect(CLIENT_PRIVATE, NODE_PUBLIC, "10.9.0.2")
    yield
    run("systemctl", "stop", "wgfleet-agent")


def test_the_agent_runs_confined_with_wireguard_of_the_kernel() -> None:
    assert verify(str(UNITS / AGENT)) == ""
    status = Path(f"/proc/{shown(AGENT, 'MainPID')}/status").read_text()
    for which in ("CapBnd", "CapEff", "CapPrm"):
        assert capabilities(status, which) == 1 << 12 | 1 << 13 | 1 << 10  # net_admin, net_raw, net_bind_service
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\s*2$", status, re.MULTILINE)
    assert Path("/var/lib/wgfleet-agent").stat().st_mode & 0o777 == 0o700
    assert node.call("GET", "/v1/status").json()["backend"] == "kernel"


def test_an_interface_serves_forwards_and_floats() -> None:
    assert "10.10.0.0/24" in run("ip", "route", "show", "dev", "wg0")
    assert serves()
    assert floats()
    # The neighbour believes that another machine has the address: only what the agent announces tells it better.
    assert node.applied(node.with_floating(WANTED)).verified
    assert not floats()
    entry = ("nei", "replace", FLOATING, "dev", "eth0")
    run("ip", "-n", NEIGHBOUR, *entry, "lladdr", ELSEWHERE, "nud", "stale")
    assert node.applied(HOLDING).verified
    assert floats()
    own = Path("/sys/class/net/eth0/address").read_text().strip()
    eventually(lambda: own in run("ip", "-n", NEIGHBOUR, "nei", "show", FLOATING), every_s=0.2)
    assert pings(NEIGHBOUR, FLOATING)


def test_a_peer_is_called_from_the_floating_address() -> None:
    call = Takeover((TakeoverPeer(CLIENT_PUBLIC, f"{CLIENT_ADDRESS}:40000", FLOATING),), 10)

    def called() -> bool:
        # A peer with a young handshake is here already, and is not called.
        assert CLIENT_PUBLIC in node.call("POST", "/v1/wg/wg0/takeover", call).json()["answered"]
        return FLOATING in run(*node.inside(CLIENT_HOST, "wg", "show", "wg0", "endpoints"))

    eventually(called, every_s=1)
    assert "lookup 519" not in run("ip", "rule")
    assert not [line for line in journal("--unit", AGENT) if "no rule" in line or "called from another" in line]


def test_systemd_brings_a_killed_agent_back_and_the_interface_stays() -> None:
    before = index()
    run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "wgfleet-agent")
    eventually(lambda: shown(AGENT, "NRestarts") != "0", every_s=0.2)
    assert serves(), "the data plane needs no agent"
    eventually(node.answers, every_s=0.2)
    assert (index(), floats()) == (before, True)
    # And it works, rather than only runs.
    run("ip", "link", "delete", "wg0")
    eventually(lambda: succeeds("wg", "show", "wg0", "peers") and serves(), every_s=0.2)
