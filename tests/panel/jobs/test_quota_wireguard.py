"""A quota over two moves, and without the panel: what a client gets through is what it was given, and no more."""

import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from wgfleet.lab import assembly, fleet, state, stock
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
SOON_S = 180.0
LIMIT = 50_000_000
BEYOND = LIMIT // 200  # of what is let through beyond the limit; measured: see docs/jobs.md
SIZE, OUTSIDE = 1372, 1440  # bytes of a ping, and of its packet as WireGuard counts it: padded to 16, and 32 of its own
# A flood on a busy machine loses answers, which a node let through and the client does not see: the nodes count.
COUNTER = f"""table inet heard {{
  chain in {{ type filter hook input priority filter + 10; icmp type echo-request meta length {SIZE + 28} counter; }}
}}"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with state.temporary("quota", 2, 2) as built:
        assembly.assemble(built, Progress())
        for node in fleet.hosts(built, "node"):
            node.run("nft", "-f", "-", stdin=COUNTER)
        yield built


def through(lab: Lab) -> int:
    """Return the bytes of both directions that nodes let through: what they hear they answer."""
    listed = (node.run("nft", "list", "table", "inet", "heard") for node in fleet.hosts(lab, "node"))
    return 2 * OUTSIDE * sum(int(heard) for text in listed for heard in re.findall(r"packets (\d+)", text))


def send_up_to(lab: Lab, total: int) -> None:
    while (left := total - through(lab)) > 0:
        count = str(max(1, left // (2 * OUTSIDE)))
        command = ("ping", "-q", "-f", "-c", count, "-s", str(SIZE), "-w", "60", fleet.NODE_TUNNEL_ADDRESS)
        lab.host("client-1").run(*command, check=False)


def peer_of(lab: Lab, panel: PanelClient, client: str) -> dict[str, Any]:
    key = lab.host(client).run("wg", "show", "wg0", "public-key").strip()
    return next(each for each in panel.all("/api/configs/wg0/peers") if each["public_key"] == key)


def move(lab: Lab, panel: PanelClient, peer: dict[str, Any]) -> None:
    """Have the node that has the client give it to the other one, by plan."""
    before = panel.call("GET", f"/api/peers/{peer['id']}")["session"]["node_id"]
    panel.call("POST", f"/api/nodes/{before}/drain")

    def moved() -> bool:
        return bool(panel.call("GET", f"/api/peers/{peer['id']}")["session"]["node_id"] != before)

    wait_for(moved, "the client is not moved", within_s=SOON_S)
    stock.wait_reply(lab.host("client-1"), fleet.NODE_TUNNEL_ADDRESS, timeout_s=SOON_S)
    wait_for(
        lambda: all(each["finished_at"] for each in panel.all("/api/operations")), "the drain goes on", within_s=SOON_S
    )
    panel.call("POST", f"/api/nodes/{before}/uncordon")


def test_a_quota_of_50_mb_over_two_moves_and_without_the_panel(lab: Lab) -> None:
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, 2)
        peer = peer_of(lab, panel, "client-1")
        panel.call("POST", f"/api/peers/{peer['id']}/jobs", {"field": "total_data", "value": LIMIT})
        stock.wait_reply(lab.host("client-1"), fleet.NODE_TUNNEL_ADDRESS, timeout_s=SOON_S)
        send_up_to(lab, 20_000_000)
        move(lab, panel, peer)
        send_up_to(lab, 40_000_000)
        move(lab, panel, peer)
        send_up_to(lab, 45_000_000)
        time.sleep(5.0)  # a look of the panel, which sees where the client is
        fleet.kill_panel(lab)
        lab.host("client-1").run(
            *("ping", "-q", "-f", "-c", "4000", "-s", str(SIZE), "-w", "40", fleet.NODE_TUNNEL_ADDRESS), check=False
        )
        beyond = through(lab) - LIMIT
        sys.stderr.write(f"quota: {beyond} bytes beyond {LIMIT}\n")
        fleet.restart_panel(lab)
        fleet.wait_connected(panel, 2)
        assert -BEYOND < beyond < BEYOND
        wait_for(
            lambda: panel.call("GET", f"/api/peers/{peer['id']}")["restricted_at"],
            "the peer is not restricted",
            within_s=SOON_S,
        )
        limits = panel.call("GET", f"/api/peers/{peer['id']}/limits")
        sys.stderr.write(f"ledger: {limits['jobs'][0]['used']} of {LIMIT}\n")


def test_a_file_on_two_devices_is_seen_within_seconds(lab: Lab) -> None:
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, 2)
        peer = peer_of(lab, panel, "client-2")
        panel.call("POST", f"/api/peers/{peer['id']}/jobs", {"field": "endpoints", "value": 1})
        first, second = lab.host("client-2"), lab.host("client-1")
        stock.wait_reply(first, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SOON_S)
        second.run("wg", "setconf", "wg0", "/dev/stdin", stdin=first.run("wg", "showconf", "wg0"))
        for address in peer["addresses"]:
            second.run("ip", "address", "replace", address, "dev", "wg0")
        begun = time.monotonic()
        ping = ("ping", "-q", "-i", "0.2", "-w", "120", "-I", peer["addresses"][0], fleet.NODE_TUNNEL_ADDRESS)
        for host in (first, second):
            host.start(ping, "shared-file")
        wait_for(
            lambda: panel.call("GET", f"/api/peers/{peer['id']}")["restricted_at"], "nobody saw it", within_s=SOON_S
        )
        sys.stderr.write(f"shared file: restricted after {time.monotonic() - begun:.1f} s\n")
        limits = panel.call("GET", f"/api/peers/{peer['id']}/limits")
        assert limits["devices"] == 2
