"""A node is emptied for maintenance and filled again while its clients ping, on real WireGuard."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.lab.panel.dying import panel_that_dies_at
from wgfleet.lab import assembly, fleet, pings, state, stock
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain
from wgfleet.lab.state import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
CALM_S = 2.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with state.temporary("mended", 2, 4) as built:
        assembly.assemble(built, Progress())
        yield built


def talking(nodes: list[Host]) -> dict[str, set[str]]:
    """Return by node the clients whose packets it gets just now."""
    earlier = {host.name: drain.received(host) for host in nodes}
    time.sleep(CALM_S)
    return {host.name: drain.live_peers(host, earlier[host.name]) for host in nodes}


def wait_for_every_peer(node: Host, peers: int) -> None:
    """Wait until a node has every peer again, for clients that come by name."""
    deadline = time.monotonic() + 10
    while len(drain.user_keys(node)) < peers:
        assert time.monotonic() < deadline, f"{node.name} has not got its peers back"
        time.sleep(0.1)


def test_a_node_is_drained_and_filled_again_under_ping(lab: Lab) -> None:
    devices = fleet.hosts(lab, "client")
    with fleet.client(lab) as panel:
        nodes = drain.serving(lab, panel)
        for host in nodes:
            host.favour("wireguard-go")
        running = pings.start(devices, fleet.NODE_TUNNEL_ADDRESS, rate=20)
        before = talking(nodes)
        node = lab.host(max(before, key=lambda name: len(before[name])))
        (operation,) = panel.call("POST", f"/api/nodes/{node.name}/drain")["items"]
        drained = panel.wait_operation(operation["id"], timeout_s=60)["result"]
        assert (drained["sessions_taken_over"], drained["left_behind"]) == (len(before[node.name]), 0)
        emptied = talking(nodes)
        assert emptied[node.name] == set()
        assert sum(map(len, emptied.values())) == len(devices)
        wait_for_every_peer(node, len(devices))
        assert panel.call("POST", f"/api/nodes/{node.name}/uncordon")["cordoned"] is False
        operation = panel.call("POST", f"/api/configs/{fleet.CONFIG}/rebalance")
        moved = panel.wait_operation(operation["id"], timeout_s=60)["result"]
        assert moved["left_behind"] == 0
        filled = talking(nodes)
        assert {name: len(clients) for name, clients in filled.items()} == dict.fromkeys(before, len(devices) // 2)
    # Each client moves at most twice.
    lost = {count.client: count.lost for count in pings.measure(running)}
    assert max(lost.values()) <= 2 * drain.MAX_LOST, lost


@pytest.mark.parametrize("point", ["moves.place.after", "removal.takeover.answered", "moves.takeover.after"])
def test_a_panel_killed_there_ends_the_drain_after_its_restart(lab: Lab, point: str) -> None:
    with fleet.client(lab) as panel:
        node = max(drain.serving(lab, panel), key=lambda host: len(drain.live_peers(host, {})))
    with panel_that_dies_at(lab, point) as panel:
        (operation,) = panel.call("POST", f"/api/nodes/{node.name}/drain")["items"]
    with fleet.client(lab) as panel:
        ended = panel.wait_operation(operation["id"], timeout_s=60)
        assert (ended["state"], ended["result"]["left_behind"]) == ("succeeded", 0)
        panel.call("POST", f"/api/nodes/{node.name}/uncordon")
        for host in drain.serving(lab, panel):
            wait_for_every_peer(host, len(fleet.hosts(lab, "client")))
    for client in fleet.hosts(lab, "client"):
        stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=10)


@pytest.mark.parametrize("point", ["group_drain.step.before", "group_drain.step.after"])
def test_a_panel_killed_there_ends_the_drain_of_a_group_after_its_restart(lab: Lab, point: str) -> None:
    with fleet.client(lab) as panel:
        node = max(drain.serving(lab, panel), key=lambda host: len(drain.live_peers(host, {})))
        group = f"rack-{point.rsplit('.', 1)[-1]}"
        panel.call("POST", "/api/node-groups", {"name": group})
        panel.call("PATCH", f"/api/nodes/{node.name}", {"group": group})
    # The panel may die before it has answered.
    with panel_that_dies_at(lab, point) as panel, contextlib.suppress(LabError):
        panel.call("POST", f"/api/node-groups/{group}/drain")
    with fleet.client(lab) as panel:
        operation = max(panel.all("/api/operations?kind=drain_group"), key=lambda found: str(found["created_at"]))
        ended = panel.wait_operation(operation["id"], timeout_s=60)
        assert (ended["state"], ended["result"]["nodes"], ended["result"]["left_behind"]) == ("succeeded", 1, 0)
        panel.call("POST", f"/api/node-groups/{group}/uncordon")
        panel.call("PATCH", f"/api/nodes/{node.name}", {"group": None})
        for host in drain.serving(lab, panel):
            wait_for_every_peer(host, len(fleet.hosts(lab, "client")))
