"""A floating address goes to another node as planned, and phones that know no other address go on with it."""

from collections.abc import Iterator

import pytest

from wgfleet.lab import assembly, face, fleet, pings, stock
from wgfleet.lab import state as labs
from wgfleet.lab.assembly import Equipment
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
SEEN_S = 60.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.temporary("floats", 2, 2) as built:
        assembly.assemble(built, Progress(quiet=True), Equipment(floating=1, mobile=True))
        yield built


def all_at(lab: Lab, panel: PanelClient, name: str) -> bool:
    """Whether the panel has heard that every peer has its session on a node."""
    peers = panel.all(f"/api/configs/{fleet.CONFIG}/peers")
    node_id = drain.node_id(lab, lab.host(name))
    return all(peer["session"] is not None and peer["session"]["node_id"] == node_id for peer in peers)


def test_an_address_is_moved_by_hand_and_by_a_drain_and_its_clients_go_on(lab: Lab) -> None:
    (address,) = face.floating(lab)
    before = face.wait_held_once(lab)[address]
    (other,) = {host.name for host in fleet.hosts(lab, "node")} - {before}
    clients = fleet.hosts(lab, "client")
    running = pings.start(clients, fleet.NODE_TUNNEL_ADDRESS, rate=20)
    with fleet.client(lab) as panel:
        wait_for(lambda: all_at(lab, panel, before), "the panel does not know the clients' sessions", within_s=SEEN_S)
        path = f"/api/configs/{fleet.CONFIG}/floating-addresses/{address}/move"
        operation = panel.call("POST", path, {"node": other})
        moved = panel.wait_operation(operation["id"], timeout_s=SEEN_S)["result"]
        assert (moved["sessions_taken_over"], moved["left_behind"]) == (2, 0)
        assert face.holders(lab)[address] == [other]
        for client in clients:
            stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SEEN_S)
        wait_for(lambda: all_at(lab, panel, other), "the panel does not know where they went", within_s=SEEN_S)
        (operation,) = panel.call("POST", f"/api/nodes/{other}/drain")["items"]
        drained = panel.wait_operation(operation["id"], timeout_s=SEEN_S)["result"]
        assert (drained["sessions_taken_over"], drained["left_behind"]) == (2, 0)
        assert face.holders(lab)[address] == [before]
    for client in clients:
        stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SEEN_S)
    pings.measure(running)
