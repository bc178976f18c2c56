"""What one config is refused on a node harms no other there: real agents, real WireGuard."""

import json
from collections.abc import Iterator

import pytest

from wgfleet.lab import assembly, fleet, state
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import Document, PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
SOON_S = 20.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with state.temporary("isolated", 1, 1) as built:
        assembly.assemble(built, Progress())
        yield built


def carry(panel: PanelClient, name: str, pool: str, port: int) -> None:
    """Make a config and assign it to the node."""
    panel.call("POST", "/api/configs", {"name": name, "pools": [pool], "listen_port": port})
    panel.call("POST", f"/api/configs/{name}/nodes", {"node_id": "node-1"})


def standing(panel: PanelClient, name: str) -> Document:
    (found,) = panel.call("GET", f"/api/configs/{name}/nodes")["items"]
    return dict(found)


def wait_serving(panel: PanelClient, name: str) -> None:
    wait_for(lambda: standing(panel, name)["phase"] == "serving", f"{name} does not serve", within_s=SOON_S)


def keys(node: Host, interface: str) -> str:
    return node.run("wg", "show", interface, "allowed-ips")


def test_a_link_of_somebody_else_harms_its_own_config_alone(lab: Lab) -> None:
    node = lab.host("node-1")
    node.run("ip", "tuntap", "add", "m0", "mode", "tun")
    with fleet.client(lab) as panel:
        carry(panel, "m0", "10.20.0.0/24", 52020)
        carry(panel, "a1", "10.21.0.0/24", 52021)
        wait_serving(panel, "a1")
        assert "m0" in standing(panel, "m0")["summary"]
        user = panel.call("POST", "/api/configs/a1/peers", {"name": "user"})
        key = user["public_key"]
        wait_for(lambda: key in keys(node, "a1"), "the peer does not arrive", within_s=SOON_S)
        panel.call("DELETE", f"/api/peers/{user['id']}")
        wait_for(lambda: key not in keys(node, "a1"), "a deleted peer is still served", within_s=SOON_S)
        # Taken back: what there is under that name was never the panel's, so nothing is owed.
        operation = panel.call("DELETE", "/api/configs/m0/nodes/node-1")
        panel.wait_operation(operation["id"], timeout_s=SOON_S)
        panel.call("DELETE", "/api/configs/m0")
        carry(panel, "n3", "10.22.0.0/24", 52022)
        wait_serving(panel, "n3")
        wait_for(
            lambda: "m0" not in panel.call("GET", "/api/nodes/node-1")["summary"],
            "m0 is owed for ever",
            within_s=SOON_S,
        )
    assert "m0" in {link["ifname"] for link in json.loads(node.run("ip", "-j", "link"))}, "it is somebody's"
