"""A WireGuard interface that another program made is taken over as it runs, when a person on the machine says so."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest

from tests.agent.node import Host, Node
from tests.agent.segment import cable
from tests.agent.test_faults import wireguard_go
from tests.agent.test_leaving import wgfleet
from tests.agent.test_push import applied, refused
from tests.agent.values import peers, private_key, public_key, settings, whole
from tests.waiting import eventually
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.keys import PrivateKey, PublicKey

pytestmark = pytest.mark.lab
MANY = 1000


@dataclass
class Running:
    """A server as wg-quick leaves it, with a client that uses it, and what a panel wants it to be."""

    node: Node
    client: Host
    wanted: DesiredInterface

    def answered(self) -> bool:
        return ", 0% packet loss" in self.client.run(
            "ping", "-c", "3", "-i", "0.2", "-w", "20", "10.8.0.1", check=False
        )

    def ping(self, *options: str) -> "subprocess.Popen[str]":
        command = self.client.command("ping", *options, "10.8.0.1")
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def seen(self, what: str) -> list[str]:
        return self.node.host.run("wg", "show", "wg0", what).splitlines()


def device(host: Host, address: str, text: str) -> None:
    host.wireguard()
    host.run("wg", "setconf", "wg0", "/dev/stdin", stdin=text)
    host.run("ip", "addr", "add", address, "dev", "wg0")
    host.run("ip", "link", "set", "wg0", "up")


def of_server(key: PrivateKey, having: dict[PublicKey, DesiredPeer], port: int = 51820) -> str:
    lines = [f"[Interface]\nPrivateKey = {key}\nListenPort = {port}"]
    for each, wanted in having.items():
        lines.append(f"[Peer]\nPublicKey = {each}\nAllowedIPs = {', '.join(wanted.allowed_ips)}")
        lines += [f"PresharedKey = {wanted.preshared_key}"] if wanted.preshared_key else []
    return "\n".join(lines) + "\n"


@pytest.fixture
def running(make_host: Callable[[], Host], node: Node) -> Running:
    client, switch = make_host(), make_host()
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    for number, host in enumerate((node.host, client), 1):
        cable(switch, host, number)
    key, own = private_key(), private_key()
    having = {**peers(MANY - 1), public_key(own): DesiredPeer(("10.8.255.2/32",))}
    device(node.host, "10.8.0.1/16", of_server(key, having))
    device(
        client,
        "10.8.255.2/16",
        f"[Interface]\nPrivateKey = {own}\n[Peer]\nPublicKey = {public_key(key)}\nAllowedIPs = 10.8.0.0/16\n"
        "Endpoint = 198.18.0.1:51820\nPersistentKeepalive = 25\n",
    )
    return Running(node, client, whole(1, settings(key=key), having))


def test_it_is_taken_over_with_its_sessions_and_no_packet_is_lost(running: Running) -> None:
    node, wanted = running.node, running.wanted
    process = wireguard_go(node)
    said = refused(node, wanted)
    assert (said.reason, "wgfleet agent adopt wg0" in said.detail) == ("foreign_interface", True)
    eventually(running.answered)
    ping = running.ping("-i", "0.01", "-c", "1000", "-W", "20")
    code, told = wgfleet(node, "adopt", "wg0", "--yes", "--json")
    assert (code, f"port 51820, {MANY} peers, 1 uses it now" in told) == (0, True), told
    assert re.search(r'"interface": "wg0",\s+"listen_port": 51820,[^}]+"peers": 1000,\s+"live": 1,', told)
    assert public_key(wanted.settings.private_key) in told
    result = applied(node, wanted)
    assert (result.verified, result.drift) == (True, ())
    heard, _ = ping.communicate(timeout=120)
    assert " 0% packet loss" in heard, heard
    assert wireguard_go(node) == process
    assert len(running.seen("peers")) == MANY
    assert node.state.adoptions.read_bytes() == b"{}"
    fewer = msgspec.structs.replace(wanted, generation=Generation(2), peers=dict(list(wanted.peers.items())[1:]))
    assert applied(node, fewer).verified  # it is like any other from now on
    node.stop()
    node.start()
    assert applied(node, msgspec.structs.replace(fewer, generation=Generation(3))).verified
    assert wireguard_go(node) == process
    assert running.answered()


def test_nobody_loses_access_of_whom_nothing_was_said(running: Running) -> None:
    node, wanted = running.node, running.wanted
    others = sorted(wanted.peers)[:7]
    fewer = {key: each for key, each in wanted.peers.items() if key not in others}
    wanted = msgspec.structs.replace(wanted, peers=fewer)
    assert wgfleet(node, "adopt", "wg0", "--yes")[0] == 0
    said = refused(node, wanted).detail
    assert "--remove-others. 7 of its 1000 peers are not in the config, and lose access" in said
    assert all(key in said for key in others[:5])
    assert "and 2 more" in said
    assert len(running.seen("peers")) == MANY
    assert wgfleet(node, "adopt", "wg0", "--remove-others", "--yes")[0] == 0
    assert applied(node, wanted).verified
    assert set(running.seen("peers")) == set(fewer)


def test_one_that_is_not_the_configs_stays_as_it_is(running: Running) -> None:
    node, wanted = running.node, running.wanted
    assert wgfleet(node, "adopt", "wg0", "--yes")[0] == 0
    said = refused(node, msgspec.structs.replace(wanted, settings=settings())).detail
    assert "rename or remove it by hand" in said
    elsewhere = msgspec.structs.replace(wanted.settings, listen_port=51999)
    said = refused(node, msgspec.structs.replace(wanted, settings=elsewhere)).detail
    assert re.search("listens at port 51820 and the config at 51999", said)
    assert running.seen("private-key") == [wanted.settings.private_key]
    assert running.seen("listen-port") == ["51820"]
    assert len(running.seen("peers")) == MANY


def test_what_cannot_be_taken_over_is_said(node: Node) -> None:
    code, told = wgfleet(node, "adopt", "wg0", "--yes")
    assert (code, "there is no link wg0 on this machine" in told) == (1, True), told
    node.host.run("ip", "link", "add", "wg0", "type", "bridge")
    code, told = wgfleet(node, "adopt", "wg0", "--yes")
    assert (code, "is no WireGuard interface" in told) == (1, True), told
    code, told = wgfleet(node, "adopt", "wg0")
    assert (code, "is no WireGuard interface" in told) == (1, True), told
    assert applied(node, whole(1, settings("wg1")), "wg1").verified
    code, told = wgfleet(node, "adopt", "wg1", "--yes")
    assert (code, "wg1 is the agent's own" in told) == (1, True), told
