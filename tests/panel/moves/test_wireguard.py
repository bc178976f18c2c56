"""A node is emptied for maintenance and filled again while its clients ping, on real WireGuard."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.panel.dying import panel_that_dies_at
from wgfleet.lab import assembly, fleet, pings, state, stock
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, mesh
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
CALM_S = 2.0
SEEN_S = 120.0
RATE = 20
MAX_LOST_S = 1.0  # for each move; `lab run drain` holds clients to one packet, on a machine of its own


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with state.temporary("mended", 3, 6) as built:
        assembly.assemble(built, Progress())
        yield built


def talking(nodes: list[Host]) -> dict[str, set[str]]:
    """Return by node the clients whose packets it gets just now."""
    earlier = {host.name: drain.received(host) for host in nodes}
    time.sleep(CALM_S)
    return {host.name: drain.live_peers(host, earlier[host.name]) for host in nodes}


def wait_for_every_peer(node: Host, peers: int) -> None:
    """Wait until a node has every peer again, for clients that come by name."""
    wait_for(lambda: len(drain.user_keys(node)) == peers, f"{node.name} has not got its peers back", within_s=SEEN_S)


def test_a_node_is_drained_and_filled_again_under_ping(lab: Lab) -> None:
    devices = fleet.hosts(lab, "client")
    with fleet.client(lab) as panel:
        nodes = drain.serving(lab, panel)
        for host in nodes:
            host.favour("wireguard-go")
        running = pings.start(devices, fleet.NODE_TUNNEL_ADDRESS, rate=RATE)
        before = talking(nodes)
        node = lab.host(max(before, key=lambda name: len(before[name])))
        (operation,) = panel.call("POST", f"/api/nodes/{node.name}/drain")["items"]
        drained = panel.wait_operation(operation["id"], timeout_s=SEEN_S)["result"]
        assert (drained["sessions_taken_over"], drained["left_behind"]) == (len(before[node.name]), 0)
        emptied = talking(nodes)
        assert emptied[node.name] == set()
        assert sum(map(len, emptied.values())) == len(devices)
        wait_for_every_peer(node, len(devices))
        assert panel.call("POST", f"/api/nodes/{node.name}/uncordon")["cordoned"] is False
        operation = panel.call("POST", f"/api/configs/{fleet.CONFIG}/rebalance")
        moved = panel.wait_operation(operation["id"], timeout_s=SEEN_S)["result"]
        assert moved["left_behind"] == 0
        filled = talking(nodes)
        assert {name: len(clients) for name, clients in filled.items()} == dict.fromkeys(
            before, len(devices) // len(nodes)
        )
    # Each client moves at most twice; by itself it would be silent for 15 s each time.
    lost = {count.client: count.lost for count in pings.measure(running)}
    assert max(lost.values()) <= 2 * MAX_LOST_S * RATE, lost


@pytest.mark.parametrize("point", ["moves.place.after", "moves.takeover.answered", "moves.takeover.after"])
def test_a_panel_killed_there_ends_the_drain_after_its_restart(lab: Lab, point: str) -> None:
    with fleet.client(lab) as panel:
        node = max(drain.serving(lab, panel), key=lambda host: len(drain.live_peers(host, {})))
    with panel_that_dies_at(lab, point) as panel:
        (operation,) = panel.call("POST", f"/api/nodes/{node.name}/drain")["items"]
    with fleet.client(lab) as panel:
        ended = panel.wait_operation(operation["id"], timeout_s=SEEN_S)
        assert (ended["state"], ended["result"]["left_behind"]) == ("succeeded", 0)
        panel.call("POST", f"/api/nodes/{node.name}/uncordon")
        for host in drain.serving(lab, panel):
            wait_for_every_peer(host, len(fleet.hosts(lab, "client")))
    for client in fleet.hosts(lab, "client"):
        stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SEEN_S)


@pytest.mark.parametrize("point", ["group_drain.step.before", "group_drain.step.after", "moves.takeover.after"])
def test_a_panel_killed_there_and_again_between_the_nodes_ends_the_drain_of_a_group(lab: Lab, point: str) -> None:
    group = point.replace(".", "-")
    with fleet.client(lab) as panel:
        # Each node has something to give away.
        operation = panel.call("POST", f"/api/configs/{fleet.CONFIG}/rebalance")
        panel.wait_operation(operation["id"], timeout_s=SEEN_S)
        nodes = fleet.hosts(lab, "node")[:2]
        panel.call("POST", "/api/node-groups", {"name": group})
        for node in nodes:
            panel.call("PATCH", f"/api/nodes/{node.name}", {"group": group})
        earlier = {each["id"] for each in panel.all("/api/operations?kind=drain")}
    # The panel may die before it has answered.
    with panel_that_dies_at(lab, point) as panel, contextlib.suppress(LabError):
        panel.call("POST", f"/api/node-groups/{group}/drain")

    def first_ended() -> bool:
        drains = [each for each in panel.all("/api/operations?kind=drain") if each["id"] not in earlier]
        return any(each["finished_at"] is not None for each in drains)

    with fleet.client(lab) as panel:
        wait_for(first_ended, "no node of the group is drained", within_s=SEEN_S, every_s=0.05)
    fleet.restart_panel(lab)
    with fleet.client(lab) as panel:
        operation = max(panel.all("/api/operations?kind=drain_group"), key=lambda found: str(found["created_at"]))
        ended = panel.wait_operation(operation["id"], timeout_s=SEEN_S)
        assert (ended["state"], ended["result"]["nodes"], ended["result"]["left_behind"]) == ("succeeded", 2, 0)
        ids = {drain.node_id(lab, node) for node in nodes}
        assert not [each for each in panel.all(f"/api/configs/{fleet.CONFIG}/peers") if each["home_node_id"] in ids]
        panel.call("POST", f"/api/node-groups/{group}/uncordon")
        for node in nodes:
            panel.call("PATCH", f"/api/nodes/{node.name}", {"group": None})
        for host in drain.serving(lab, panel):
            wait_for_every_peer(host, len(fleet.hosts(lab, "client")))
    for client in fleet.hosts(lab, "client"):
        stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SEEN_S)


def test_clients_of_different_nodes_reach_each_other_while_one_of_these_is_drained(lab: Lab) -> None:
    nodes = fleet.hosts(lab, "node")
    with fleet.client(lab) as panel:
        mesh.turn_on(lab, panel)
        running = mesh.start(lab, RATE)
        live = talking(nodes)
        busiest = max(live, key=lambda name: len(live[name]))
        (operation,) = panel.call("POST", f"/api/nodes/{busiest}/drain")["items"]
        assert panel.wait_operation(operation["id"], timeout_s=SEEN_S)["result"]["left_behind"] == 0
        lost = {count.client: count.lost for count in pings.measure(running)}
        assert max(lost.values()) <= 2 * MAX_LOST_S * RATE, lost
        panel.call("PATCH", f"/api/configs/{fleet.CONFIG}", {"backbone": False})
        panel.call("POST", f"/api/nodes/{busiest}/uncordon")
        for node in nodes:
            wait_for(
                lambda node=node: "wgb" not in node.run("ip", "-br", "link"),  # type: ignore[misc]
                f"{node.name} still has links to others",
                within_s=SEEN_S,
            )
