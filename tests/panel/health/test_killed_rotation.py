"""The panel dies before and after each step of a rotation of probe keys: it ends all the same, and nobody notices."""

import time
from collections.abc import Iterator

import pytest

from tests.panel.dying import panel_that_dies_at
from wgfleet.lab import assembly, fleet, pings, state, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, standings
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for
from wgfleet.panel.domain.probe_keys import RotationStep

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

POINTS = [f"probe_keys.{step}.{moment}" for step in RotationStep for moment in ("before", "after")]
PATH = f"/api/configs/{fleet.CONFIG}/probe-keys"
ENDED_S = 60.0
AFTER_S = 10.0  # what the watch thinks of the last step is decided by then


@pytest.fixture
def lab() -> Iterator[Lab]:
    with state.temporary("rotation", 3, 2) as built:
        assembly.assemble(built, Progress(quiet=True))
        yield built


def probe_peers(host: Host) -> set[str]:
    """Return the keys with which a node may be asked for a handshake: those of its peers that reach nothing."""
    peers = host.run("wg", "show", stock.INTERFACE, "peers").split()
    return set(peers) - drain.user_keys(host)


def test_a_rotation_ends_wherever_its_panel_is_killed_and_nobody_notices(lab: Lab) -> None:
    nodes = fleet.hosts(lab, "node")
    before = {host.name: probe_peers(host) for host in nodes}
    assert {len(keys) for keys in before.values()} == {3}, "the panel, and two other nodes"
    running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=20.0)
    begun = time.time()
    with panel_that_dies_at(lab, *POINTS) as panel:
        panel.call("POST", PATH)
    with fleet.client(lab) as panel:
        wait_for(lambda: panel.call("GET", PATH)["rotation"] is None, "the rotation does not end", within_s=ENDED_S)
        fleet.wait_connected(panel, lab.nodes)
        time.sleep(AFTER_S)
        assert standings.changes(lab, panel, begun) == []
        assert standings.failovers(panel, begun) == []
    assert [(count.client, count.lost) for count in pings.measure(running) if count.lost] == []
    for host in nodes:
        after = probe_peers(host)
        assert len(after) == 3
        assert not after & before[host.name]
