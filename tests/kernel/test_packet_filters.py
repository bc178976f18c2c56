"""The filters of an interface with WireGuard of the real kernel: what users reach, and a port that falls silent."""

import sys
import time

import msgspec
import pytest

from tests.kernel.conftest import NAME, Host, Network, desired
from tests.kernel.test_sessions import CLIENT_PUBLIC, NODE_PRIVATE, connect, serve
from tests.waiting import eventually
from wgfleet.agent.kernel import mute_table
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.reach import Reach

pytestmark = pytest.mark.kernel

PORT = 51820
METADATA, UPLINK, NODE = "169.254.169.254", "203.0.113.9", "10.8.0.1"
WANTED = desired({CLIENT_PUBLIC: DesiredPeer(("10.8.0.2/32",))}, private_key=NODE_PRIVATE, masquerade=True)
LISTEN = "import socket; s = socket.create_server(('', 7777)); [s.accept()[0].close() for _ in iter(int, 1)]"
CONNECT = """
import contextlib, socket, sys
for address in sys.argv[1:]:
    with contextlib.suppress(OSError):
        socket.create_connection((address, 7777), timeout=3)
        print(address)
"""


def reached(host: Host, *addresses: str) -> set[str]:
    return set(host.run(sys.executable, "-c", CONNECT, *addresses).split())


def test_users_reach_the_uplink_and_neither_the_node_nor_what_clouds_serve(network: Network) -> None:
    node, client, world = (network.host(name) for name in ("node", "client", "world"))
    reconciler = serve(node, WANTED)
    connect(client, node)
    for address in (METADATA, UPLINK):
        world.run("ip", "address", "add", address, "dev", "eth0")
        node.run("ip", "route", "add", address, "dev", "eth0")
        client.run("ip", "route", "add", address, "dev", NAME)
    client.run("wg", "set", NAME, "peer", _node_key(client), "allowed-ips", "0.0.0.0/0")
    for host in (node, world):
        host.run("sh", "-c", f'"$0" -c "$1" >/dev/null 2>&1 & echo $! > {_pid_file(host)}', sys.executable, LISTEN)
    try:
        eventually(lambda: reached(client, NODE, METADATA, UPLINK) == {NODE, METADATA, UPLINK}, every_s=0.5)
        filtered = msgspec.structs.replace(WANTED, settings=msgspec.structs.replace(WANTED.settings, reach=Reach()))
        assert node.do(reconciler.apply_whole(filtered)).verified
        assert reached(client, NODE, METADATA, UPLINK) == {UPLINK}
        assert client.pings(NODE), "whether the tunnel works is to be seen with ping"
    finally:
        for host in (node, world):
            host.run("sh", "-c", f"kill $(cat {_pid_file(host)})")


def test_a_port_that_nobody_keeps_awake_falls_silent_until_it_is_allowed(network: Network) -> None:
    node, client = network.host("node"), network.host("client")
    serve(node)
    connect(client, node)
    node.do(mute_table.arm(NAME, PORT))
    assert client.pings(NODE)
    assert node.do(mute_table.speaks(NAME, PORT))
    # What WireGuard says keeps it awake.
    assert ", 0% packet loss" in client.run("ping", "-n", "-q", "-i", "0.5", "-c", "15", NODE)
    assert node.do(mute_table.speaks(NAME, PORT))
    time.sleep(mute_table.SPEAKS_FOR_S + 0.5)
    assert not client.pings(NODE)
    assert node.do(mute_table.speaks(NAME, PORT)) is False
    assert node.do(_pulse()) is False
    heard = node.do(mute_table.heard(NAME))
    assert not client.pings(NODE), "it hears, and does not answer"
    assert node.do(mute_table.heard(NAME)) > heard
    node.do(mute_table.allow(NAME, PORT))
    assert node.do(_pulse())
    assert client.pings(NODE)
    node.do(mute_table.mute(NAME))
    assert not client.pings(NODE)
    node.do(mute_table.remove(NAME))
    assert client.pings(NODE)


def test_a_pulse_keeps_a_port_awake_that_has_nothing_to_say(network: Network) -> None:
    node, client = network.host("node"), network.host("client")
    serve(node)
    connect(client, node)
    node.do(mute_table.arm(NAME, PORT))
    until = time.monotonic() + 2 * mute_table.SPEAKS_FOR_S
    while time.monotonic() < until:
        assert node.do(_pulse())
        time.sleep(mute_table.SPEAKS_FOR_S / 5)
    assert client.pings(NODE)


async def _pulse() -> bool:
    with mute_table.Pulse() as pulse:
        return await pulse.arrives(PORT)


def _node_key(client: Host) -> str:
    return client.run("wg", "show", NAME, "peers").strip()


def _pid_file(host: Host) -> str:
    return f"/tmp/{host.name}-listening"  # noqa: S108 - the machine is ours alone
