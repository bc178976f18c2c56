"""The helper for Linux clients, on real tunnels: two servers with one key, a client behind NAT, one name for both."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import eventually
from wgfleet.lab import processes, state, stock
from wgfleet.lab.hosts import Host
from wgfleet.panel import client_helper
from wgfleet.panel.services.clients import bundle

pytestmark = pytest.mark.lab
LAB = "pytesthelper"
NAME = "vpn.example.com"
TUNNEL = "10.8.0.1"
SCRIPT = Path(client_helper.__file__).with_name(bundle.PROGRAM)
# What the timer does.
EVERY_SECOND = 'while sleep 1; do "$0" wg0 || :; done'
NAT = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority 100
    ip saddr 198.19.0.0/16 masquerade
  }
}
"""


@dataclass
class Net:
    """Two servers with one key, and a client that knows both under one name and has the helper."""

    lab: state.Lab
    client: Host
    secrets: tuple[str, ...]
    log: Path

    @property
    def endpoint(self) -> str:
        return self.client.run("wg", "show", "wg0", "endpoints").split()[1]

    @property
    def server(self) -> str:
        """The server that the client is at."""
        address = self.endpoint.rpartition(":")[0]
        return next(name for name in ("node-1", "node-2") if self.lab.host(name).address == address)

    def reaches(self, target: str = TUNNEL, within_s: int = 1) -> bool:
        return self.client.succeeds("ping", "-n", "-q", "-c", "1", "-i", "0.2", "-w", str(within_s), target)

    def peer(self) -> dict[str, str]:
        """All that the interface has of its peer but its endpoint and its counters."""
        columns = ("preshared-keys", "allowed-ips", "persistent-keepalive")
        return {column: self.client.run("wg", "show", "wg0", column) for column in columns}


def key(*words: str, stdin: str = "") -> str:
    return processes.run(["wg", *words], stdin=stdin).strip()


@contextmanager
def network(keepalive: int) -> Iterator[Net]:
    server_key, client_key, psk = key("genkey"), key("genkey"), key("genpsk")
    with state.temporary(LAB, nodes=2, clients=1) as lab:
        client = lab.host("client-1")
        lab.host("router").run("nft", "-f", "/dev/stdin", stdin=NAT)
        for name in ("node-1", "node-2"):
            node = lab.host(name)
            stock.write_file(
                node,
                f"[Interface]\nPrivateKey = {server_key}\nAddress = {TUNNEL}/24\nListenPort = 51820\n"
                f"[Peer]\nPublicKey = {key('pubkey', stdin=client_key)}\nPresharedKey = {psk}\n"
                "AllowedIPs = 10.8.0.2/32\n",
            )
            stock.up(node)
            with (client.directory / "hosts").open("a") as hosts:
                hosts.write(f"{node.address} {NAME}\n")
        file = (
            f"# anna\n[Interface]\nPrivateKey = {client_key}\nAddress = 10.8.0.2/32\n"
            f"[Peer]\nPublicKey = {key('pubkey', stdin=server_key)}\nPresharedKey = {psk}\n"
            f"AllowedIPs = 10.8.0.0/24, fd00:8::/64\nEndpoint = {NAME}:51820\n"
            f"PersistentKeepalive = {keepalive}\n"
        )
        stock.connect([(client, file)], TUNNEL)
        log = client.start(["sh", "-c", EVERY_SECOND, str(SCRIPT)], "reresolve")
        yield Net(lab, client, (server_key, client_key, psk), log)


@pytest.fixture
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    with network(getattr(request, "param", 25)) as built:
        yield built


def remembers(net: Net) -> bool:
    return net.client.succeeds("test", "-s", "/run/wgfleet-reresolve/wg0.addresses")


def own_routes(net: Net) -> list[Any]:
    """Return the client's routes, but for those that the kernel makes by itself for IPv6 a while after a link is up."""
    routes = json.loads(net.client.run("ip", "-j", "route", "show", "table", "all"))
    return [route for route in routes if not route["dst"].startswith(("fe80", "ff00"))]


@pytest.mark.parametrize("net", [0, 25], indirect=True, ids=["without keepalive", "with keepalive"])
def test_a_client_behind_nat_goes_to_the_other_server_when_its_own_dies(net: Net) -> None:
    eventually(lambda: remembers(net))
    before, routes, dead = net.peer(), own_routes(net), net.server
    net.client.start(["ping", "-n", "-i", "0.05", TUNNEL], "steady")
    net.lab.cut(dead)
    eventually(lambda: net.server != dead and net.reaches())
    # The tunnel carries packets before the script has looked and said so.
    eventually(lambda: "now at" in net.log.read_text())
    assert net.peer() == before
    assert own_routes(net) == routes
    said = net.log.read_text()
    assert said.count("did not answer; now at") == 1
    kept = net.client.run("sh", "-c", "cat /run/wgfleet-reresolve/*")
    assert not [secret for secret in net.secrets if secret in said + kept]


def test_a_dead_host_behind_a_live_server_moves_nobody(net: Net) -> None:
    server = net.server
    net.client.start(["ping", "-n", "-i", "0.2", "10.8.0.77"], "dead")
    time.sleep(10)
    assert net.server == server
    assert net.reaches()
    assert net.log.read_text() == ""


def test_a_name_that_no_longer_resolves_is_remembered(net: Net) -> None:
    eventually(lambda: remembers(net))
    dead = net.server
    (net.client.directory / "hosts").write_text("127.0.0.1 localhost\n")
    net.lab.cut(dead)
    eventually(lambda: net.reaches() and net.server != dead)


def test_a_session_that_is_quiet_is_left_alone(net: Net) -> None:
    def session() -> tuple[str, str]:
        show = ("wg", "show", "wg0")
        return net.client.run(*show, "latest-handshakes"), net.client.run(*show, "transfer").split()[1]

    before = session()
    time.sleep(5)
    assert session() == before


def test_all_servers_gone_is_said_once_and_ends_when_one_is_back(net: Net) -> None:
    net.client.start(["ping", "-n", "-i", "0.2", TUNNEL], "steady")
    for node in ("node-1", "node-2"):
        net.lab.cut(node)
    eventually(lambda: "no address of" in net.log.read_text())
    net.lab.reconnect("node-1")
    eventually(net.reaches)
    assert net.log.read_text().count("no address of") == 1


def test_without_its_tunnel_or_a_name_there_is_nothing_to_do(net: Net) -> None:
    assert net.client.run(str(SCRIPT), "wg7") == ""
    file = net.client.directory / "wireguard" / "wg0.conf"
    file.write_text(file.read_text().replace(NAME, "[fd00::1]"))
    eventually(lambda: "no peer whose endpoint is a name" in net.log.read_text())
    time.sleep(3)
    assert net.log.read_text().count("\n") == 1
