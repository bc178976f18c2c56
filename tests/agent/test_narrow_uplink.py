"""Users' TCP fits a node's uplink that carries less than theirs, where no router's "too big" ever arrives."""

import sys
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.agent.node import Host, Node
from tests.agent.segment import drift
from tests.agent.test_push import applied
from tests.agent.values import private_key, public_key, settings, whole
from tests.waiting import eventually
from wgfleet.agent.kernel.uplink_mtu import fitting
from wgfleet.protocol.desired import DesiredPeer

#   user (198.51.100.2) ── router ── server (203.0.113.2)
#                            │ 1400 bytes
#                          node (198.18.0.2)
NARROW, BYTES = 1400, 1_000_000
SILENT_ROUTER = """table inet silent {
    chain out { type filter hook output priority 0; icmp type 3 drop; icmpv6 type 2 drop; }
}"""
# Whoever calls gets that many bytes, and sends as many.
SERVE = """
import socket, sys, threading
def one(other, size):
    threading.Thread(target=other.sendall, args=(bytes(size),)).start()
    while size > 0:
        size -= len(other.recv(65536)) or size
    other.sendall(b"!")
listening = socket.create_server(("::", 7777), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    threading.Thread(target=one, args=(listening.accept()[0], int(sys.argv[1]))).start()
"""
TRANSFER = """
import socket, sys, threading
size = int(sys.argv[2])
with socket.create_connection((sys.argv[1], 7777), timeout=30) as other:
    threading.Thread(target=other.sendall, args=(bytes(size),), daemon=True).start()
    left = size + 1
    while left > 0:
        left -= len(other.recv(65536)) or left
print("all")
"""
USER, KEY = private_key(), private_key()


def link(router: Host, host: Host, name: str, network: tuple[str, str], mtu: int = 1500) -> None:
    """Connect a host, whose default route is the router."""
    router.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
    for where, device, number in ((router, name, 1), (host, "eth0", 2)):
        for prefix, length in zip(network, (24, 64), strict=True):
            nodad = ["nodad"] if ":" in prefix else []
            where.run("ip", "addr", "add", f"{prefix}{number}/{length}", "dev", device, *nodad)
        where.run("ip", "link", "set", device, "mtu", str(mtu), "up")
    for prefix in network:
        host.run("ip", "-6" if ":" in prefix else "-4", "route", "add", "default", "via", f"{prefix}1")


@pytest.fixture
def narrow(make_host: Callable[[], Host], make_node: Callable[..., Node]) -> tuple[Node, Host]:
    router, user, server = (make_host() for _ in range(3))
    node = make_node()
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    link(router, user, "user", ("198.51.100.", "2001:db8:51::"))
    link(router, server, "server", ("203.0.113.", "2001:db8:113::"))
    link(router, node.host, "node", ("198.18.0.", "2001:db8:18::"), NARROW)
    router.run("nft", "-f", "-", stdin=SILENT_ROUTER)
    server.spawn(sys.executable, "-c", SERVE, str(BYTES))
    node.start("--interval", "0.2")
    return node, user


def joins(user: Host, addresses: tuple[str, ...]) -> None:
    """Have the user do what a stock file says, which knows nothing of the node's uplink."""
    user.wireguard()
    user.run(
        *("wg", "setconf", "wg0", "/dev/stdin"),
        stdin=f"[Interface]\nPrivateKey = {USER}\n[Peer]\nPublicKey = {public_key(KEY)}\n"
        "AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 198.18.0.2:51820\n",
    )
    for address in addresses:
        user.run("ip", "addr", "add", address, "dev", "wg0", *(["nodad"] if ":" in address else []))
    user.run("ip", "link", "set", "wg0", "mtu", "1420", "up")
    for target in ("203.0.113.0/24", "2001:db8:113::/64"):
        user.run("ip", "-6" if ":" in target else "-4", "route", "add", target, "dev", "wg0")


@pytest.mark.lab
@pytest.mark.parametrize("mtu", [None, 1420])
def test_large_transfers_get_through_an_uplink_of_1400_bytes_that_drops_icmp(
    narrow: tuple[Node, Host], mtu: int | None
) -> None:
    node, user = narrow
    made = settings(key=KEY, addresses=("10.8.0.1/24", "fd08::1/64"), masquerade=True, mtu=mtu)
    wanted = whole(1, made, {public_key(USER): DesiredPeer(("10.8.0.2/32", "fd08::2/128"))})
    applied(node, wanted)
    joins(user, ("10.8.0.2/24", "fd08::2/64"))
    eventually(lambda: "1 received" in user.run("ping", "-c", "1", "-W", "1", "203.0.113.2", check=False))
    for server in ("203.0.113.2", "2001:db8:113::2"):
        assert user.run(sys.executable, "-c", TRANSFER, server, str(BYTES)) == "all\n"
    assert "set the config's mtu to 1320" in drift(node)["forwarding.mtu"]
    # Where it becomes wider, so does the tunnel.
    node.host.run("ip", "link", "set", "eth0", "mtu", "1500")
    eventually(lambda: " mtu 1420 " in node.host.run("ip", "link", "show", "wg0"))
    eventually(lambda: not drift(node))
    assert applied(node, replace(wanted, generation=2, settings=replace(made, masquerade=False))).verified
    assert "wgfleet_wg0" not in node.host.run("nft", "list", "tables")


@pytest.mark.parametrize(
    ("mtu", "carried", "addresses", "expected"),
    [
        (None, 1500, ("10.8.0.1/24",), 1420),
        (None, 9000, ("10.8.0.1/24",), 1420),
        (None, 1492, ("10.8.0.1/24",), 1412),
        (None, 1460, ("10.8.0.1/24", "fd08::1/64"), 1380),
        (None, 1300, ("10.8.0.1/24", "fd08::1/64"), 1280),
        (None, 1300, ("10.8.0.1/24",), 1220),
        (None, 500, ("10.8.0.1/24",), 576),
        (None, None, ("10.8.0.1/24",), None),
        (1440, 1500, ("10.8.0.1/24",), 1440),  # users who come by IPv4 alone
        (1450, 1500, ("10.8.0.1/24",), 1420),
        (1280, 1500, ("10.8.0.1/24",), 1280),
        (8920, 9000, ("10.8.0.1/24",), 8920),
        (1420, None, ("10.8.0.1/24",), 1420),
    ],
)
def test_a_tunnel_carries_what_the_config_says_or_what_fits_the_uplink(
    mtu: int | None, carried: int | None, addresses: tuple[str, ...], expected: int | None
) -> None:
    assert fitting(settings(addresses=addresses, mtu=mtu), carried) == expected
