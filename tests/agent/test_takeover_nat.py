"""A client behind NAT moves to another node if the call comes from the floating address that it knows, and only so."""

import subprocess
from collections.abc import Callable

import msgspec
import pytest

from tests.agent.node import Host, Node
from tests.agent.segment import cable
from tests.agent.test_push import applied
from tests.agent.test_takeover import CLIENT_IP
from tests.agent.values import private_key, public_key, settings, whole
from tests.waiting import eventually
from wgfleet.agent.kernel.source_routes import PRIORITY
from wgfleet.protocol.desired import DesiredPeer, FloatingSettings, delta_between
from wgfleet.protocol.keys import PrivateKey
from wgfleet.protocol.messages import Refusal, Takeover, TakeoverPeer, TakeoverResult

pytestmark = pytest.mark.lab
FLOATING = "198.18.0.100"
MASQUERADE = """
table ip nat {
    chain post {
        type nat hook postrouting priority 100
        oifname eth0 masquerade
    }
}
"""


ANCHOR_A, ANCHOR_B = "10.19.0.5", "10.19.0.6"
TRANSLATION = """
table ip cloud
delete table ip cloud
table ip cloud {{
    chain through {{
        type filter hook prerouting priority raw
        ip daddr {floating} ip daddr set {anchor} accept
        ip saddr {anchor} ip saddr set {floating}
    }}
}}
"""


def put_behind_nat(client: Host, nat: Host) -> None:
    nat.run("ip", "link", "add", "inner", "type", "veth", "peer", "name", "eth0", "netns", str(client.pid))
    nat.run("ip", "addr", "add", "192.168.7.1/24", "dev", "inner")
    nat.run("ip", "link", "set", "inner", "up")
    nat.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    nat.run("nft", "-f", "-", stdin=MASQUERADE)
    client.run("ip", "addr", "add", "192.168.7.2/24", "dev", "eth0")
    client.run("ip", "link", "set", "eth0", "up")
    client.run("ip", "route", "add", "default", "via", "192.168.7.1")


def connect(client: Host, own: PrivateKey, key: PrivateKey) -> Callable[[], bool]:
    """Have a client connect to the floating address; return what tells whether its node answers."""
    client.wireguard()
    client.run(
        *("wg", "setconf", "wg0", "/dev/stdin"),
        stdin=f"[Interface]\nPrivateKey = {own}\n[Peer]\nPublicKey = {public_key(key)}\n"
        f"AllowedIPs = 10.8.0.0/24\nEndpoint = {FLOATING}:51820\nPersistentKeepalive = 25\n",
    )
    client.run("ip", "addr", "add", f"{CLIENT_IP}/24", "dev", "wg0")
    client.run("ip", "link", "set", "wg0", "up")

    def answers() -> bool:
        command = client.command("ping", "-q", "-c", "1", "-W", "0.2", "10.8.0.1")
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    return answers


def test_a_node_that_got_the_dead_ones_address_calls_from_it_through_the_clients_nat(
    make_host: Callable[[], Host], make_node: Callable[..., Node]
) -> None:
    switch, nat, client = make_host(), make_host(), make_host()
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    a, b = make_node("node-a"), make_node("node-b")
    for number, host in enumerate((a.host, b.host, nat), 1):
        cable(switch, host, number)
    put_behind_nat(client, nat)
    key, own = private_key(), private_key()
    peer = public_key(own)
    without = settings(addresses=("10.8.0.1/24",), key=key)
    holding = msgspec.structs.replace(without, floating=FloatingSettings((FLOATING,), (), private_key(), 5.0))
    peers = {peer: DesiredPeer((f"{CLIENT_IP}/32",))}
    for node, made in ((a, holding), (b, without)):
        node.start()
        assert applied(node, whole(1, made, peers)).verified
    answers = connect(client, own, key)

    def call(source: str | None, timeout_s: float) -> TakeoverResult:
        body = Takeover((TakeoverPeer(peer, endpoint, source),), timeout_s)
        response = b.call("POST", "/v1/wg/wg0/takeover", body)
        assert response.status_code == 200, response.text
        return msgspec.json.decode(response.content, type=TakeoverResult)

    eventually(answers)
    endpoint = a.host.run("wg", "show", "wg0", "endpoints").split("\t")[1].strip()
    assert endpoint.startswith("198.18.0.3:")
    assert call(None, 0.5).unanswered == (peer,)

    switch.run("ip", "link", "set", "p1", "down")
    response = b.call("POST", "/v1/wg/wg0/takeover", Takeover((TakeoverPeer(peer, endpoint, FLOATING),)))
    assert response.status_code == 422
    assert msgspec.json.decode(response.content, type=Refusal).field == "peers[0].source"
    before, after = whole(1, without, peers), whole(2, holding, peers)
    assert applied(b, delta_between(before, after)).verified
    result = call(FLOATING, 10.0)
    assert list(result.answered) == [peer]
    eventually(answers)
    # The client never learned another endpoint, and nothing of the call is left.
    assert client.run("wg", "show", "wg0", "endpoints").split("\t")[1].strip() == f"{FLOATING}:51820"
    assert f"{PRIORITY}:" not in b.host.run("ip", "rule")
    assert b.host.run("ip", "route", "show", "table", "all", "proto", "87") == ""


def test_a_source_that_the_node_does_not_hold_is_refused_by_its_field(node: Node) -> None:
    wanted = whole(1)
    applied(node, wanted)
    body = Takeover((TakeoverPeer(next(iter(wanted.peers)), "192.0.2.1:1", "192.0.2.9"),))
    response = node.call("POST", "/v1/wg/wg0/takeover", body)
    assert response.status_code == 422
    refusal = msgspec.json.decode(response.content, type=Refusal)
    assert (refusal.reason, refusal.field) == ("bad_field", "peers[0].source")


def test_behind_a_cloud_that_translates_the_address_it_calls_from_what_it_is_translated_to(
    make_host: Callable[[], Host], make_node: Callable[..., Node]
) -> None:
    switch, cloud, nat, client = make_host(), make_host(), make_host(), make_host()
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    a, b = make_node("node-a"), make_node("node-b")
    for number, host in enumerate((a.host, b.host, cloud), 1):
        cable(switch, host, number)
    cloud.run("ip", "link", "add", "outer", "type", "veth", "peer", "name", "eth0", "netns", str(nat.pid))
    cloud.run("ip", "addr", "add", "192.0.2.1/24", "dev", "outer")
    cloud.run("ip", "link", "set", "outer", "up")
    cloud.run("ip", "route", "add", "10.19.0.0/16", "dev", "eth0")
    cloud.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    nat.run("ip", "addr", "add", "192.0.2.9/24", "dev", "eth0")
    nat.run("ip", "link", "set", "eth0", "up")
    nat.run("ip", "route", "add", "default", "via", "192.0.2.1")
    for node in (a, b):
        node.host.run("ip", "route", "add", "192.0.2.0/24", "via", "198.18.0.3")
    put_behind_nat(client, nat)

    def leads(anchor: str) -> None:
        rules = TRANSLATION.format(floating=FLOATING, anchor=anchor)
        cloud.run("nft", "-f", "-", stdin=rules)

    key, own = private_key(), private_key()
    peer = public_key(own)
    peers = {peer: DesiredPeer((f"{CLIENT_IP}/32",))}
    for node, anchor in ((a, ANCHOR_A), (b, ANCHOR_B)):
        node.host.run("ip", "addr", "add", f"{anchor}/32", "dev", "eth0")
        floating = FloatingSettings((), (), private_key(), 5.0, translated=(anchor,))
        node.start()
        made = msgspec.structs.replace(settings(addresses=("10.8.0.1/24",), key=key), floating=floating)
        assert applied(node, whole(1, made, peers)).verified
    leads(ANCHOR_A)
    answers = connect(client, own, key)
    eventually(answers)
    endpoint = a.host.run("wg", "show", "wg0", "endpoints").split("\t")[1].strip()

    def call(source: str | None, timeout_s: float) -> TakeoverResult:
        body = Takeover((TakeoverPeer(peer, endpoint, source),), timeout_s)
        response = b.call("POST", "/v1/wg/wg0/takeover", body)
        assert response.status_code == 200, response.text
        return msgspec.json.decode(response.content, type=TakeoverResult)

    leads(ANCHOR_B)
    assert call(None, 0.5).unanswered == (peer,)
    assert list(call(ANCHOR_B, 10.0).answered) == [peer]
    eventually(answers)
    assert client.run("wg", "show", "wg0", "endpoints").split("\t")[1].strip() == f"{FLOATING}:51820"
    # Calls go out from the machine's own address where the private one is missing; that is said.
    b.host.run("ip", "addr", "del", f"{ANCHOR_B}/32", "dev", "eth0")
    made = msgspec.structs.replace(
        settings(addresses=("10.8.0.1/24",), key=key),
        floating=FloatingSettings((), (), private_key(), 5.0, translated=(ANCHOR_B,)),
    )
    result = applied(b, whole(2, made, peers))
    assert [each.field for each in result.drift] == [f"floating.translated.{ANCHOR_B}"]
