"""The helper for Linux clients on WireGuard of the real kernel: one command takes a peer away and puts it back."""

import time
from pathlib import Path

import pytest

from tests.kernel.conftest import NAME, Network, desired, key_pair
from wgfleet.panel import clienthelper
from wgfleet.panel.services import bundle
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.keys import PresharedKey

pytestmark = pytest.mark.kernel

SCRIPT = Path(clienthelper.__file__).with_name(bundle.PROGRAM)
NODE_PRIVATE, NODE_PUBLIC = key_pair(1)
CLIENT_PRIVATE, CLIENT_PUBLIC = key_pair(2)
PSK = PresharedKey(key_pair(3)[0])
NODE = "vpn.example.com"
# `ip netns exec` has made a mount namespace of its own.
LOOK = 'mount --bind "$1/hosts" /etc/hosts; RUNTIME_DIRECTORY=$1 exec "$2" wg0 "$1/wg0.conf"'


def test_a_client_goes_to_the_other_node_and_keeps_its_settings(network: Network, tmp_path: Path) -> None:
    nodes, client = [network.host("one"), network.host("two")], network.host("client")
    wanted = desired({CLIENT_PUBLIC: DesiredPeer(("10.8.0.2/32",), PSK)}, private_key=NODE_PRIVATE)
    for node in nodes:
        assert node.do(node.keeper(wanted).apply_whole(wanted)).verified
    (tmp_path / "hosts").write_text("".join(f"{node.address} {NODE}\n" for node in nodes))
    (tmp_path / "wg0.conf").write_text(f"[Peer]\nPublicKey = {NODE_PUBLIC}\nEndpoint = {NODE}:51820\n")
    (tmp_path / "interface.conf").write_text(
        f"[Interface]\nPrivateKey = {CLIENT_PRIVATE}\n[Peer]\nPublicKey = {NODE_PUBLIC}\nPresharedKey = {PSK}\n"
        f"AllowedIPs = 10.8.0.0/24, fd00:8::/64\nEndpoint = {nodes[0].address}:51820\n"
    )
    client.run("ip", "link", "add", NAME, "type", "wireguard")
    client.run("wg", "setconf", NAME, str(tmp_path / "interface.conf"))
    client.run("ip", "address", "add", "10.8.0.2/24", "dev", NAME)
    client.run("ip", "link", "set", NAME, "up")
    assert client.pings("10.8.0.1")

    def settings() -> list[str]:
        columns = ("preshared-keys", "allowed-ips", "persistent-keepalive")
        return [client.run("wg", "show", NAME, column) for column in columns]

    def look() -> None:
        client.run("sh", "-ec", LOOK, "look", str(tmp_path), str(SCRIPT))

    before = settings()
    look()
    nodes[0].run("ip", "link", "set", "eth0", "down")
    until = time.monotonic() + 60
    while nodes[1].address not in client.run("wg", "show", NAME, "endpoints"):
        assert time.monotonic() < until
        client.pings("10.8.0.1")
        look()
    assert client.pings("10.8.0.1")
    assert settings() == before
