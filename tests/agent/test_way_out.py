"""A panel elsewhere in the network, careless or hostile, does not cut a machine off from itself for long."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest
from msgspec.structs import replace

from tests.agent.node import PORT, Host, Node
from tests.agent.segment import cable
from tests.agent.test_faults import status
from tests.agent.test_push import applied, refused
from tests.agent.test_reach import opens
from tests.agent.values import peers, private_key, public_key, settings, whole
from tests.waiting import eventually
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.reach import Reach

pytestmark = pytest.mark.lab

#   panel (203.0.113.5) ── gateway (203.0.113.1, 198.18.0.9) ── node (198.18.0.1)
# or the panel is in the network of a site, 10.66.0.2, and reaches the node through the tunnel of wg0: 10.8.0.1
PANEL, GATEWAY, NODE = "203.0.113.5", "198.18.0.9", "198.18.0.1"
KEY, USER = private_key(), private_key()
CONFIRM_S = 3.0
LONGER_S = 30.0  # the answer to a push waits for TCP to try again


@dataclass
class Site:
    """A node, and the host of its panel behind the gateway of its default route."""

    node: Node
    panel: Host

    def heard(self) -> bool:
        """Whether the panel gets through to the agent, where it calls it."""
        return opens(self.panel, self.node.address, PORT)


def push(generation: int, made: InterfaceSettings, *, users: int = 0) -> DesiredInterface:
    return whole(generation, made, {public_key(USER): DesiredPeer(("10.8.0.200/32", "10.66.0.0/24")), **peers(users)})


BASE = settings(key=KEY, addresses=("10.8.0.1/24",))
OPEN = replace(BASE, routes=("10.66.0.0/24",))  # without the filter, which keeps users from the agent


@pytest.fixture
def site(make_host: Callable[[], Host], make_node: Callable[..., Node]) -> Site:
    near, far, gateway, panel = (make_host() for _ in range(4))
    for switch in (near, far):
        switch.run("ip", "link", "add", "br0", "type", "bridge")
        switch.run("ip", "link", "set", "br0", "up")
    node = make_node()
    cable(near, node.host, 1)
    cable(near, gateway, 9)
    gateway.run("ip", "link", "set", "eth0", "name", "near")
    cable(far, gateway, 10)
    cable(far, panel, 11)
    for host, address, device in ((gateway, "203.0.113.1/24", "eth0"), (panel, f"{PANEL}/24", "eth0")):
        host.run("ip", "addr", "flush", "dev", device)
        host.run("ip", "addr", "add", address, "dev", device)
    gateway.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    gateway.run("ip", "link", "set", "near", "up")
    node.host.run("ip", "route", "add", "default", "via", GATEWAY)
    panel.run("ip", "route", "add", "default", "via", "203.0.113.1")
    node.start("--confirm", str(CONFIRM_S), "--interval", "1")
    node.call_from(panel, NODE)
    eventually(node.answers)
    return Site(node, panel)


@pytest.mark.parametrize(
    ("routes", "address"),
    [
        (("203.0.113.0/24",), PANEL),
        ((f"{PANEL}/32",), PANEL),
        (("10.70.0.0/16", "128.0.0.0/1"), PANEL),
        (("0.0.0.0/0",), PANEL),
        (("198.18.0.0/24",), GATEWAY),
        ((f"{GATEWAY}/32",), GATEWAY),
        (("198.18.0.8/29",), GATEWAY),
    ],
)
def test_networks_with_the_panel_or_the_uplink_in_them_are_refused(
    site: Site, routes: tuple[str, ...], address: str
) -> None:
    assert applied(site.node, push(1, BASE)).verified
    refusal = refused(site.node, push(2, replace(BASE, routes=routes)))
    assert refusal.reason == "cuts_off"
    assert address in refusal.detail
    assert "take it out of the config" in refusal.detail
    assert status(site.node).interfaces[0].generation == 1
    assert site.heard()


def test_pools_with_the_panel_or_the_uplink_in_them_are_refused(site: Site) -> None:
    for pool in ("198.18.0.100/24", "203.0.113.77/24"):
        assert refused(site.node, push(1, replace(BASE, addresses=(pool,)))).reason == "cuts_off"
    assert "wg0" not in site.node.host.run("ip", "-o", "link")
    assert site.heard()
    # The machine's own route to the gateway is narrower, and the panel is elsewhere.
    assert applied(site.node, push(1, replace(BASE, addresses=("198.18.0.100/20",)))).verified
    assert site.heard()


@pytest.fixture
def inside(site: Site) -> Site:
    """The panel is a user of wg0 now, in a network that is routed to that user, and reaches the agent by the tunnel."""
    assert applied(site.node, push(1, OPEN)).verified
    site.panel.wireguard()
    site.panel.run(
        *("wg", "setconf", "wg0", "/dev/stdin"),
        stdin=f"[Interface]\nPrivateKey = {USER}\n[Peer]\nPublicKey = {public_key(KEY)}\n"
        f"AllowedIPs = 10.8.0.0/24\nEndpoint = {NODE}:{OPEN.listen_port}\n",
    )
    site.panel.run("ip", "addr", "add", "10.66.0.2/32", "dev", "wg0")
    site.panel.run("ip", "link", "set", "wg0", "up")
    site.panel.run("ip", "route", "add", "10.8.0.0/24", "dev", "wg0", "src", "10.66.0.2")
    site.node.call_from(site.panel, "10.8.0.1")
    eventually(site.node.answers)
    return site


def taken_back(node: Node, fields: set[str]) -> dict[str, str] | None:
    """Return what the agent says of these fields, where it says that they differ, and it can be asked."""
    with contextlib.suppress(httpx.TransportError):
        said = {each.field: each.observed for each in status(node).interfaces[0].drift}
        return said if said.keys() == fields else None
    return None


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        (replace(OPEN, reach=Reach()), {"reach"}),  # users reach no agent
        (replace(OPEN, routes=()), {"routes.10.66.0.0/24"}),
        (replace(OPEN, addresses=("10.8.0.9/24",)), {"addresses.10.8.0.1/24", "addresses.10.8.0.9/24"}),
    ],
)
def test_what_cuts_a_panel_off_that_comes_through_the_tunnel_is_taken_back(
    inside: Site, wanted: InterfaceSettings, fields: set[str]
) -> None:
    node = inside.node
    with node.watch():
        running = node.begin("PUT", "/v1/wg/wg0", push(2, wanted, users=3))
        eventually(lambda: not inside.heard())
        eventually(inside.heard, within_s=CONFIRM_S + 3.0)
        assert running.result(LONGER_S).status_code == 200
        # It tries once more, as the panel may only have restarted, and is cut off once more.
        said = eventually(lambda: taken_back(node, fields), within_s=LONGER_S)
        assert all("the panel was not heard for 3 s" in words for words in said.values())
        (interface,) = status(node).interfaces
        assert (interface.generation, interface.peers) == (2, 4)
        # The panel's next push is what was there before; nothing is on trial or taken back then.
        assert applied(node, push(3, OPEN)).verified
        assert status(node).interfaces[0].drift == ()
        assert not (node.state.desired / "wg0.confirmed").exists()
